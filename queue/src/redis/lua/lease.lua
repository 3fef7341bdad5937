-- Takes up to n neighbouring tasks of one layer for a worker.
-- KEYS[1]   the farm's own hash
-- ARGV[1]   epoch
-- ARGV[2]   the time, see part/clock.lua
-- ARGV[3]…  to ARGV[11]: what part/lease.lua takes
-- Answers   as part/lease.lua
-- include open clock events fits unstored lease

local answer = lease()
publish()
return answer
