-- Puts a job back that was submitted before the queue lost its memory.
-- KEYS[1]  the farm's own hash
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]… as part/add.lua says
-- Answers  {'ok', <1 when it was missing>}
-- include any clock events wake job offers add

if call('EXISTS', P .. 'j:' .. ARGV[4]) == 1 then return {'ok', 0} end
add_job()
return {'ok', 1}
