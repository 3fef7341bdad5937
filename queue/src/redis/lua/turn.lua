-- Makes stored results count, then takes tasks for workers: all that was asked for in one process
-- while it waited for other calls.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  for how long answers are remembered, ms
-- ARGV[4]  how long a lease lasts, ms
-- ARGV[5]  how many commits follow: of each job, layer and runs of tasks, see part/runs.lua
-- then     how many kinds of worker, how many leases
-- then     of each kind memory in bytes, tags as `,a,b,`, loaded models as `\na\nb\n`
-- then     the worker of each lease
-- then     `?<request>` of each
-- then     of each the worker as JSON, its kind counted from 0, how many tasks, and the name of the
--          lease: 13 hexadecimal digits
-- Answers  {'ok', <a letter for each task, see part/commit.lua>, <as part/lease.lua, or {'drain'},
--          or {'due'}: some pauses are over; call end_pauses.lua, then ask again>...}
-- include open clock events spare

-- What most calls of a process with one lane are; the rest would do, for more.
if ARGV[5] == '0' and ARGV[7] == '1' and farm[5] then
  -- include record fits lone_lease
  local told = lone_lease()
  if told then return {'ok', '', told} end
elseif ARGV[5] == '1' and #ARGV == 10 and #ARGV[8] == 28 then
  -- include record settle lone_commit
  local letters = lone_commit()
  if letters then return {'ok', letters} end
end

-- include job held
local answer = {'ok', ''}
local commits = tonumber(ARGV[5])
local first_lease = 6 + 3 * commits

-- What meets something that it cannot read leaves no half of the others' turns.
local is_good, trouble = true, nil
if commits > 0 then
  -- include record leases runs settle commit
  local letters = {}
  for group = 1, commits do
    local arg = 3 + 3 * group
    is_good, trouble = pcall(commit, ARGV[arg], ARGV[arg + 1], ARGV[3], ARGV[arg + 2])
    if not is_good then break end
    letters[group] = trouble
  end
  answer[2] = table.concat(letters)
end
local leases = tonumber(ARGV[first_lease + 1])
if is_good and leases > 0 then
  spare()
  -- include record fits lease
  local kinds = first_lease + 2
  is_good, trouble = pcall(lease_all, kinds, kinds + 3 * ARGV[first_lease], leases, answer)
  store_given()
end
store_jobs()
publish()
if not is_good then error(trouble, 0) end
return answer
