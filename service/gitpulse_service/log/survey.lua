-- What waits. It writes nothing, and looks at no more than the first entry of each stream.
--
-- KEYS  the hash of bytes that wait; the dead letters; one stream a partition
-- Returns dead letters, bytes; then of each partition how many wait, and the age of the oldest (ms).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = { redis.call('XLEN', KEYS[2]), 0 }
for i = 3, #KEYS do
  local oldest = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
  answer[#answer + 1] = redis.call('XLEN', KEYS[i])
  answer[#answer + 1] = oldest and math.max(0, now - string.match(oldest[1], '%d+')) or 0
  if oldest then
    answer[2] = answer[2] + math.max(0, tonumber(redis.call('HGET', KEYS[1], i - 3) or 0))
  end
end
return answer
