-- Accepts a batch of deliveries: each is stored, or found stored already, and its hook's feedback is noted.
-- All of it in one step; nothing at all when the log is full.
--
-- KEYS  the epochs' hash; one stream a partition; one dedupe key a delivery; one feedback hash a note
-- ARGV  partitions, deliveries, notes, dedupe window (s), backlog limit (entries), feedback kept (s);
--       partition and entry of each delivery; field and time of each note
--
-- Returns job id, whether it is a duplicate, and the partition's epoch, flat, for each delivery; nil when full.

local partitions, deliveries, notes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window, limit, kept = ARGV[4], tonumber(ARGV[5]), ARGV[6]

local waiting = deliveries
for i = 1, partitions do
  waiting = waiting + redis.call('XLEN', KEYS[1 + i])
end
if waiting > limit then
  return nil
end

local answer = {}
local key, argument = 1 + partitions, 6
for i = 1, deliveries do
  local seen = KEYS[key + i]
  local partition, entry = ARGV[argument + 2 * i - 1], ARGV[argument + 2 * i]
  local job = redis.call('GET', seen)
  local duplicate = 1
  if not job then
    job = partition .. '-' .. redis.call('XADD', KEYS[2 + partition], '*', 'entry', entry)
    redis.call('SET', seen, job, 'EX', window)
    duplicate = 0
  end
  answer[3 * i - 2] = job
  answer[3 * i - 1] = duplicate
  answer[3 * i] = tonumber(redis.call('HGET', KEYS[1], partition) or 0)
end

key, argument = key + deliveries, argument + 2 * deliveries
for i = 1, notes do
  redis.call('HSET', KEYS[key + i], ARGV[argument + 2 * i - 1], ARGV[argument + 2 * i])
  redis.call('EXPIRE', KEYS[key + i], kept)
end
return answer
