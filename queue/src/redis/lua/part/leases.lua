-- Reads and writes the records of leases, see part/record.lua.

local function pack_lease(s)
  return struct.pack(RECORD, s.job, s.number, s.at, s.first, s.expires, #s.worker, s.worker,
    #s.request, s.request, #s.tasks, s.tasks, #s.attempts, s.attempts) .. s.ends
end

local function read_lease(name, packed)
  local job, number, at, first, expires, worker, request, tasks, attempts, rest =
    struct.unpack(RECORD, packed)
  return {
    name = name, job = job, number = number, at = at, first = first, expires = expires,
    worker = worker, request = request, tasks = tasks, attempts = attempts,
    ends = string.sub(packed, rest),
  }
end

local function attempt_of(lease, position)
  return (struct.unpack('<I4', lease.attempts, #lease.attempts > 4 and 4 * position + 1 or 1))
end

-- Whether this is the running attempt at a task; a lease counts for the job that it was given for.
local function is_running(lease, j, at, index, position, attempt)
  return lease.job == j.id and lease.number == j.number and lease.at == at
    and lease.first + position == index and string.byte(lease.tasks, position + 1) == 114
    and attempt_of(lease, position) == attempt
end

-- Takes tasks that follow each other out of a lease.
local function leave(lease, position, count)
  local tasks = lease.tasks
  lease.tasks = count == #tasks and '' or string.sub(tasks, 1, position)
    .. string.rep('-', count) .. string.sub(tasks, position + count + 1)
end
