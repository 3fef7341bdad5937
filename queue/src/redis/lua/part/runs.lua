-- Runs of tasks that follow each other in one lease, as clients name them: token of the first,
-- its place in the lease, its index, how many, attempt; 28 bytes each. part/lone_commit.lua reads one, too.

-- Of the run at that place: token, place, index, how many, attempt.
local function read_run(runs, at)
  return struct.unpack('<c16I2I4I2I4', runs, 28 * at - 27)
end

-- The names of their leases, which is how their tokens begin, and the records of those.
local function leases_of(runs)
  local names = {}
  for at = 1, #runs, 28 do names[#names + 1] = string.sub(runs, at, at + 12) end
  return names, call('HMGET', LEASES, unpack(names))
end
