-- Makes stored results count, then takes tasks for workers: for all that asked in one process
-- while it waited for another call.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  for how long answers are remembered, ms
-- ARGV[4]  how long a lease lasts, ms
-- ARGV[5]  groups of commits
-- then for each group: job, layer, how many, and of each index and proof, see part/entries.lua
-- then what part/lease.lua takes, for each lease
-- Answers  {'ok', <a letter for each task, see part/commit.lua>, <as part/lease.lua, of each>...}
-- include open clock events fits settle unstored commit lease

local arg = 6
local letters, unstored = {}, nil
for group = 1, tonumber(ARGV[5]) do
  if unstored then store_layer(unstored) end
  local first, size = arg + 3, tonumber(ARGV[arg + 2])
  letters[group], unstored = commit(ARGV[arg], ARGV[arg + 1], ARGV[3], first, size)
  arg = first + 2 * size
end
local answer = {'ok', table.concat(letters)}
for first = arg, #ARGV, 8 do
  answer[#answer + 1] = lease(first, ARGV[4], unstored)
  unstored = nil
end
if unstored then store_layer(unstored) end
publish()
return answer
