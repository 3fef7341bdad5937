-- Makes the stored results of tasks of one layer count, as commit.lua, and then takes tasks for
-- the worker, as lease.lua.
-- KEYS[1]   the farm's own hash
-- ARGV[1]   epoch
-- ARGV[2]   the time, see part/clock.lua
-- ARGV[3]…  to ARGV[11]: what part/lease.lua takes
-- ARGV[12]  job
-- ARGV[13]  layer
-- ARGV[14]  for how long answers are remembered, ms
-- ARGV[15]… index and proof of each task, see part/entries.lua
-- Answers   {'ok', <a letter for each task, see part/commit.lua>, <as part/lease.lua>...}
-- include open clock events fits settle unstored commit lease

local letters, unstored = commit(ARGV[12], ARGV[13], ARGV[14], 15)
local answer = lease(unstored)
publish()
return {'ok', letters, unpack(answer)}
