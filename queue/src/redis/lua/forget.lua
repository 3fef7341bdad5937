-- Removes a job that is over.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  request id
-- ARGV[5]  for how long answers are remembered, ms
-- Answers  {'ok'}, {'nojob'}, {'live', <state>}
-- include open clock bitmap job entries settle settled

if settled('q' .. ARGV[4], ARGV[5]) then return {'ok'} end
local j = load_job(ARGV[3])
if not j then return {'nojob'} end
if j.state < 3 then return {'live', j.state} end
call('ZREM', P .. 'jobs', j.id)
call('ZREM', P .. 'over:' .. j.state, j.id)
call('HDEL', P .. 'requests', call('HGET', j.key, 'request'))
for at = 0, j.size - 1 do
  local l = layer(j, at)
  for chunk = 0, math.floor((l.tasks - 1) / CHUNK) do
    call('UNLINK', l.map .. 'd' .. chunk, l.map .. 'r' .. chunk)
  end
end
-- A cancelled job's delays: the same job, submitted again, must not meet them. Its leases know
-- that they were of another.
local fields = call('HGETALL', j.key)
for i = 1, #fields, 2 do
  local field = fields[i]
  if string.find(field, '^%d+/%d+$') and read_entry(fields[i + 1]).state == 'D' then
    call('ZREM', P .. 'delays', j.id .. '/' .. field)
  end
end
call('UNLINK', j.key, P .. 'f:' .. j.id)
settle('q' .. ARGV[4], 'forgotten', ARGV[5])
return {'ok'}
