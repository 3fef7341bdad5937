-- Says that a worker lives and goes on with its tasks.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  worker id
-- ARGV[4]  the worker as JSON
-- ARGV[5]  how long a lease lasts, ms
-- ARGV[6]… job, layer and runs of tasks, see part/runs.lua
-- Answers  {'ok', <'1' when draining>, <ms when the leases end>, <a letter for each task:
--          `E`xtended, `C`ancelled, `S`tale>}
-- include open clock spare job held record leases store_lease runs seats

spare()
local seat = call('HGET', SEATS, ARGV[3])
local drain = seat and read_seat(seat) or '0'
call('HSET', SEATS, ARGV[3], drain .. now_text .. ARGV[4])

local expires = now + ARGV[5]
local beats, leases = {}, {}
local function beat(j, l, lease, index, position, attempt)
  if not l or index >= l.tasks then return 'S' end
  if j.cancelled == 1 then return 'C' end
  if not lease or not is_running(lease, j, l.at, index, position, attempt) then return 'S' end
  lease.extended[position] = true
  return 'E'
end
for i = 6, #ARGV, 3 do
  local j, at, runs = job_of(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2]
  local l = j and at < j.size and layer(j, at)
  local names, records = leases_of(runs)
  for run, name in ipairs(names) do
    local _, position, index, count, attempt = read_run(runs, run)
    local lease = leases[name]
    if not lease and records[run] then
      lease = read_lease(name, records[run])
      lease.extended = {}
      leases[name] = lease
    end
    for at_once = 0, count - 1 do
      beats[#beats + 1] = beat(j, l, lease, index + at_once, position + at_once, attempt)
    end
  end
end

-- When each task of a lease ends, where that is not the same for all.
local function set_ends(lease)
  local before = lease.ends == '' and tonumber(call('ZMSCORE', ENDS, lease.name)[1])
  local ends, least = {}, expires
  for position = 0, #lease.tasks - 1 do
    local task = before or struct.unpack('<d', lease.ends, 8 * position + 1)
    if lease.extended[position] then task = expires end
    ends[position + 1] = struct.pack('<d', task)
    if string.byte(lease.tasks, position + 1) == 114 then least = math.min(least, task) end
  end
  lease.ends = table.concat(ends)
  store_lease(lease)
  return least
end
for name, lease in pairs(leases) do
  local apart, extends = lease.ends ~= '', false
  for position = 0, #lease.tasks - 1 do
    local runs = string.byte(lease.tasks, position + 1) == 114
    if runs and not lease.extended[position] then apart = true end
    extends = extends or lease.extended[position]
  end
  if extends then call('ZADD', ENDS, apart and set_ends(lease) or expires, name) end
end
return {'ok', drain, string.format('%.0f', expires), table.concat(beats)}
