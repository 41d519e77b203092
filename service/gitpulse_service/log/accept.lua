-- Accepts a batch of deliveries: each is stored, or found stored already, and its hook's feedback is noted.
-- All of it in one step; nothing at all when the log is full.
--
-- KEYS  the epochs' hash; the hash of bytes that wait; one stream a partition; one dedupe key a delivery;
--       one feedback hash a note
-- ARGV  partitions, deliveries, notes, dedupe window (s), backlog limit (entries), backlog limit (bytes),
--       feedback kept (s); partition and entry of each delivery; field and time of each note
--
-- Returns job id, whether it is a duplicate, and the partition's epoch, flat, for each delivery; nil when full.
-- Nothing is written before the limits are checked: Redis refuses for want of memory only a script's first write.

local partitions, deliveries, notes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window, most, most_bytes, kept = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local first = 7

local waiting, length = deliveries, {}
for i = 1, partitions do
  length[i] = redis.call('XLEN', KEYS[2 + i])
  waiting = waiting + length[i]
end
local bytes, held = 0, redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if (length[held[i] + 1] or 0) > 0 then -- of an empty stream nothing is left, whatever was not told
    bytes = bytes + math.max(0, tonumber(held[i + 1]))
  end
end
for i = 1, deliveries do
  bytes = bytes + #ARGV[first + 2 * i]
end
if waiting > most or bytes > most_bytes then
  return nil
end

local answer, added = {}, {}
local key, argument = 2 + partitions, first
for i = 1, deliveries do
  local seen = KEYS[key + i]
  local partition, entry = ARGV[argument + 2 * i - 1], ARGV[argument + 2 * i]
  local job = redis.call('GET', seen)
  local duplicate = 1
  if not job then
    job = partition .. '-' .. redis.call('XADD', KEYS[3 + partition], '*', 'entry', entry)
    redis.call('SET', seen, job, 'EX', window)
    added[partition] = (added[partition] or 0) + #entry
    duplicate = 0
  end
  answer[3 * i - 2] = job
  answer[3 * i - 1] = duplicate
  answer[3 * i] = tonumber(redis.call('HGET', KEYS[1], partition) or 0)
end
for partition, size in pairs(added) do
  redis.call(length[partition + 1] > 0 and 'HINCRBY' or 'HSET', KEYS[2], partition, size)
end

key, argument = key + deliveries, argument + 2 * deliveries
for i = 1, notes do
  redis.call('HSET', KEYS[key + i], ARGV[argument + 2 * i - 1], ARGV[argument + 2 * i])
  redis.call('EXPIRE', KEYS[key + i], kept)
end
return answer
