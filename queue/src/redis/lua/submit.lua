-- Queues a job.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]… as part/add.lua says
-- Answers  {'ok', <job>}, {'exists'}
-- include open clock events wake job offers add

local before = call('HGET', P .. 'requests', ARGV[3])
if before then return {'ok', before} end
if call('EXISTS', P .. 'j:' .. ARGV[4]) == 1 then return {'exists'} end
add_job()
return {'ok', ARGV[4]}
