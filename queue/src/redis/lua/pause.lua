-- Stops or allows leases of a job.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  '1' to pause, '0' to resume
-- Answers  {'ok'}, {'nojob'}, {'over', <state>}
-- include open clock events wake spare job offers

local j = load_job(ARGV[3])
if not j then return {'nojob'} end
if j.state == 3 or j.state == 5 then return {'over', j.state} end
spare()
local pause = tonumber(ARGV[4])
if j.paused ~= pause then
  j.paused = pause
  local opened, delayed = 0, 0
  for at = 0, j.size - 1 do
    local l = layer(j, at)
    delayed = delayed + l.delayed
    if l.offered == 1 then
      if pause == 1 then unlist(j, l) else list(j, l) end
      opened = opened + available(j, l)
    end
  end
  settle_state(j)
  store_job(j)
  -- Tasks put off while the job was paused may be due at any time: let everyone look.
  if pause == 0 then wake(delayed > 0 and 'all' or opened) end
end
publish()
return {'ok'}
