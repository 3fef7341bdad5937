-- Tells of jobs.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  'one', 'first' or 'last': the oldest or the newest first
-- ARGV[2]  for 'one' the job; else the number to go on from, exclusive, or ''
-- ARGV[3]  at most how many
-- ARGV[4]  of which set: 'jobs', 'live' or 'over:<state>'
-- Answers  a list for each job: id, its JSON, its numbers, each layer's numbers

local P = string.sub(KEYS[1], 1, -5)
local ids
if ARGV[1] == 'one' then
  ids = {ARGV[2]}
elseif ARGV[1] == 'last' then
  local from = ARGV[2] == '' and '+inf' or '(' .. ARGV[2]
  ids = redis.call('ZREVRANGEBYSCORE', P .. ARGV[4], from, '-inf', 'LIMIT', 0, ARGV[3])
else
  local from = ARGV[2] == '' and '-inf' or '(' .. ARGV[2]
  ids = redis.call('ZRANGEBYSCORE', P .. ARGV[4], from, '+inf', 'LIMIT', 0, ARGV[3])
end
local answer = {}
for _, id in ipairs(ids) do
  local found = redis.call('HMGET', P .. 'j:' .. id, 'spec', 'J')
  if found[1] and found[2] then
    local size = struct.unpack('<d', found[2], 57)
    local fields = {}
    for at = 0, size - 1 do fields[at + 1] = 'L' .. at end
    local layers = redis.call('HMGET', P .. 'j:' .. id, unpack(fields))
    answer[#answer + 1] = {id, found[1], found[2], unpack(layers)}
  end
end
return answer
