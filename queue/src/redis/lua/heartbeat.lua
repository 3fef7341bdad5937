-- Says that a worker lives and goes on with its tasks.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  worker id
-- ARGV[4]  the worker as JSON
-- ARGV[5]  how long a lease lasts, ms
-- ARGV[6]… job, layer, index and proof of each task
-- Answers  {'ok', <'1' when draining>, <ms when the leases end>, <a letter for each task:
--          `E`xtended, `C`ancelled, `S`tale>}
-- include open clock spare

spare()
local seat = P .. 'w:' .. ARGV[3]
local known = call('HMGET', seat, 'seen', 'drain')
if not known[1] then call('SADD', P .. 'workers', ARGV[3]) end
call('HSET', seat, 'info', ARGV[4], 'seen', now_text)
local expires = string.format('%.0f', now + ARGV[5])
local beats, leases = {}, {}
for i = 6, #ARGV, 4 do
  local id, at, index, proof = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local found = call('HMGET', P .. 'j:' .. id, 'J', 'L' .. at, at .. '/' .. index)
  local beat = 'S'
  -- As part/job.lua packs them: the 11th number of a job, the first of a layer.
  if found[1] and found[2] and struct.unpack('<d', found[1], 81) == 1 then
    if tonumber(index) < struct.unpack('<d', found[2]) then beat = 'C' end
  elseif found[3] and string.sub(found[3], 1, 21) == proof then
    beat = 'E'
    leases[#leases + 1] = expires
    leases[#leases + 1] = id .. '/' .. at .. '/' .. index .. ' '
      .. string.sub(found[3], 35, 34 + string.byte(found[3], 34))
  end
  beats[#beats + 1] = beat
end
if #leases > 0 then call('ZADD', P .. 'leases', unpack(leases)) end
return {'ok', known[2] or '0', expires, table.concat(beats)}
