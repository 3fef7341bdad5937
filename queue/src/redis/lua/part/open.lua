-- Begins every operation that needs an open queue.
-- KEYS[1]  the farm's own hash, `{vqfarm:<farm>}:farm`; all other keys share its prefix
-- ARGV[1]  the epoch that the caller knows
-- Answers {'epoch', <epoch or nil>} and changes nothing when the queue has another one.
local call = redis.call
local P = string.sub(KEYS[1], 1, -5)
local farm = call('HMGET', KEYS[1], 'epoch', 'work', 'due', 'bucket', 'sole')
if farm[1] ~= ARGV[1] then
  return {'epoch', farm[1]}
end
