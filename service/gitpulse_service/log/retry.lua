-- Puts a dead letter back into its partition, past the dedupe window, unless somebody else has taken it away.
--
-- KEYS  the hash of bytes that wait; the stream; the dead letters
-- ARGV  partition, id of the dead letter
--
-- Returns the new job id, or nil.

local found = redis.call('XRANGE', KEYS[3], ARGV[2], ARGV[2])[1]
if not found then
  return nil
end
local entry
for i = 1, #found[2], 2 do
  if found[2][i] == 'entry' then
    entry = found[2][i + 1]
  end
end
local length = redis.call('XLEN', KEYS[2])
local id = redis.call('XADD', KEYS[2], '*', 'entry', entry)
redis.call('XDEL', KEYS[3], ARGV[2])
redis.call(length > 0 and 'HINCRBY' or 'HSET', KEYS[1], ARGV[1], #entry)
return ARGV[1] .. '-' .. id
