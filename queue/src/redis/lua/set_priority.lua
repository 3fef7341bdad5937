-- Gives a job another priority.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  priority
-- Answers  {'ok'}, {'nojob'}
-- include open clock events spare job offers

local j = load_job(ARGV[3])
if not j then return {'nojob'} end
spare()
local listed = {}
if j.paused == 0 and j.cancelled == 0 then
  for at = 0, j.size - 1 do
    local l = layer(j, at)
    if l.offered == 1 then
      unlist(j, l)
      listed[#listed + 1] = l
    end
  end
end
j.priority, j.changed = tonumber(ARGV[4]), true
for _, l in ipairs(listed) do list(j, l) end
store_job(j)
return {'ok'}
