-- Runs of tasks that follow each other in one lease, as clients name them: token of the first,
-- its index, how many, attempt; 26 bytes each.

-- Of the run at that place: its first token, the lease, the place of its first task in that, index,
-- how many, attempt.
local function read_run(runs, at)
  local token, index, count, attempt = struct.unpack('<c16I4I2I4', runs, 26 * at - 25)
  local position = tonumber(string.sub(token, 14), 16)
  return token, string.sub(token, 1, 13), position, index, count, attempt
end

-- How many there are, and the records of their leases.
local function leases_of(runs)
  local names, count = {}, #runs / 26
  for at = 1, count do names[at] = string.sub(runs, 26 * at - 25, 26 * at - 13) end
  return count, call('HMGET', LEASES, unpack(names))
end
