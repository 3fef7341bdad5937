-- Makes stored results count, then takes tasks for workers: all that was asked for in one process
-- while it waited for other calls.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  for how long answers are remembered, ms
-- ARGV[4]  how long a lease lasts, ms
-- ARGV[5]  how many commits follow: of each job, layer and runs of tasks, see part/runs.lua
-- then     how many kinds of worker: of each memory in bytes, tags as `,a,b,`, loaded models as
--          `\na\nb\n`
-- then     of each lease `?<request>`, worker, the worker as JSON, the number of its kind, how
--          many tasks, and the name of the lease: 13 hexadecimal digits
-- Answers  {'ok', <a letter for each task, see part/commit.lua>, <as part/lease.lua, or {'drain'},
--          or {'due'}: some pauses are over; call end_pauses.lua, then ask again>...}
-- include open clock events fits job held spare leases runs settle seats commit lease

local letters, answer = {}, {'ok', ''}

local function commit_all(arg)
  for group = 1, tonumber(ARGV[5]) do
    letters[group] = commit(ARGV[arg], tonumber(ARGV[arg + 1]), ARGV[3], ARGV[arg + 2])
    arg = arg + 3
  end
  return arg
end

local function lease_all(arg)
  local kinds = {}
  for kind = 1, tonumber(ARGV[arg]) do
    local from = arg + 3 * kind - 2
    kinds[kind] = {memory = tonumber(ARGV[from]), tags = ARGV[from + 1], loaded = ARGV[from + 2]}
  end
  arg = arg + 3 * #kinds + 1
  local requests, workers, n = {}, {}, 0
  for from = arg, #ARGV, 6 do
    n = n + 1
    requests[n], workers[n] = ARGV[from], ARGV[from + 1]
  end
  if n == 0 then return end
  local seats, given = call('HMGET', SEATS, unpack(workers)), call('HMGET', LEASES, unpack(requests))
  local heard, new = {}, {}
  for i = 1, n do
    local from = arg + 6 * i - 6
    local drain = seats[i] and string.byte(seats[i]) == 49 and '1' or '0'
    heard[2 * i - 1], heard[2 * i] = workers[i], drain .. now_text .. ARGV[from + 2]
    local again = new[requests[i]] or given[i] and given_before(given[i])
    if again then
      answer[i + 2] = again
    elseif drain == '1' then
      answer[i + 2] = {'drain'}
    elseif farm[3] and tonumber(farm[3]) <= now then
      answer[i + 2] = {'due'}
    else
      local kind, most = kinds[tonumber(ARGV[from + 3])], tonumber(ARGV[from + 4])
      answer[i + 2] = lease(requests[i], workers[i], kind, most, ARGV[from + 5])
      if answer[i + 2][1] == 'work' then new[requests[i]] = answer[i + 2] end
    end
  end
  call('HSET', SEATS, unpack(heard))
end

spare()
-- What meets something that it cannot read leaves no half of the others' turns.
local done, failed = pcall(function() lease_all(commit_all(6)) end)
store_given()
store_jobs()
publish()
if not done then error(failed, 0) end
answer[2] = table.concat(letters)
return answer
