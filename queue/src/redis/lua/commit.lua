-- Makes the stored results of tasks of one layer count.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]… index and proof of each task, see part/entries.lua
-- Answers  {'ok', <a letter for each task, see part/commit.lua>}
-- include open clock events settle unstored commit

local letters, unstored = commit(ARGV[3], ARGV[4], ARGV[5], 6)
if unstored then store_layer(unstored) end
publish()
return {'ok', letters}
