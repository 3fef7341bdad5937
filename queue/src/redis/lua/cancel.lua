-- Ends a job: what is not done will not be.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- Answers  {'ok'}, {'nojob'}, {'over', <state>}
-- include open clock events spare job offers

local j = load_job(ARGV[3])
if not j then return {'nojob'} end
if j.state == 3 then return {'over', j.state} end
if j.cancelled == 1 then return {'ok'} end
spare()
for at = 0, j.size - 1 do
  local l = layer(j, at)
  if l.offered == 1 and j.paused == 0 then unlist(j, l) end
end
-- Its leases and delays are left where they are: whoever finds one drops it.
j.cancelled = 1
settle_state(j)
store_job(j)
publish()
return {'ok'}
