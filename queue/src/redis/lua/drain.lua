-- Tells a worker to leave, or to stay after all.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  worker id
-- ARGV[4]  '1' to leave, '0' to stay
-- Answers  {'ok'}, {'noworker'}
-- include open wake spare seats

local seat = call('HGET', SEATS, ARGV[3])
if not seat then return {'noworker'} end
spare()
call('HSET', SEATS, ARGV[3], ARGV[4] .. string.sub(seat, 2))
wake('all')
return {'ok'}
