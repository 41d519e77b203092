-- Removes deliveries of one partition that are counted, and takes the bytes of those that were there off the backlog.
-- A script, not a transaction: a Redis that is out of memory refuses those, and would never get any back.
--
-- KEYS  the hash of bytes that wait; the stream
-- ARGV  consumer group, partition; id and size (bytes) of each entry

local freed = 0
for i = 3, #ARGV, 2 do
  redis.call('XACK', KEYS[2], ARGV[1], ARGV[i])
  freed = freed + redis.call('XDEL', KEYS[2], ARGV[i]) * ARGV[i + 1]
end
if freed > 0 then
  redis.call('HINCRBY', KEYS[1], ARGV[2], -freed)
end
