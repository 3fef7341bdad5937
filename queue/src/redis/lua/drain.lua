-- Tells a worker to leave, or to stay after all.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  worker id
-- ARGV[4]  '1' to leave, '0' to stay
-- Answers  {'ok'}, {'noworker'}
-- include open wake spare

if call('EXISTS', P .. 'w:' .. ARGV[3]) == 0 then return {'noworker'} end
spare()
call('HSET', P .. 'w:' .. ARGV[3], 'drain', ARGV[4])
wake('all')
return {'ok'}
