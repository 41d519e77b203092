-- Moves an entry of a partition to the dead letters, unless somebody else has removed it.
--
-- KEYS  the hash of bytes that wait; the stream; the dead letters
-- ARGV  consumer group, partition, id, reason, time (Unix ms), about how many dead letters are kept

local group, partition, id = ARGV[1], ARGV[2], ARGV[3]
redis.call('XACK', KEYS[2], group, id)
local found = redis.call('XRANGE', KEYS[2], id, id)[1]
if not found then
  return 0
end
local entry = found[2][1] == 'entry' and found[2][2] or ''
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*',
  'job', partition .. '-' .. id, 'reason', ARGV[4], 'at', ARGV[5], 'entry', entry)
redis.call('XDEL', KEYS[2], id)
if entry ~= '' then -- Lua writes 0 less 0 as -0, which Redis does not know
  redis.call('HINCRBY', KEYS[1], partition, -#entry)
end
return 1
