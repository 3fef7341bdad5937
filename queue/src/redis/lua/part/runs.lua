-- Runs of tasks that follow each other in one lease, as clients name them: token of the first,
-- its index, how many, attempt.
local RUN, RUN_SIZE = '<c16I4I2I4', 26

local function count_runs(runs)
  return #runs / RUN_SIZE
end

local function read_run(runs, at)
  return struct.unpack(RUN, runs, RUN_SIZE * (at - 1) + 1)
end

-- The records of their leases.
local function leases_of(runs)
  local names = {}
  for at = 1, count_runs(runs) do
    names[at] = string.sub(runs, RUN_SIZE * (at - 1) + 1, RUN_SIZE * (at - 1) + 13)
  end
  return call('HMGET', LEASES, unpack(names))
end
