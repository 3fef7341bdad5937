-- Leases that some task still runs in. `leases` has a record of each by its name, which is how
-- all its tokens begin; their last three digits count its tasks. It has the name by `?<request>`,
-- too, for a client that lost the answer. `ends` has the names by when they end.
-- A record: job, its number (another job may have the id later), layer, first task, when it was
-- to end, worker, `?<request>`, `r`unning or `-` for each task; attempt of all or of each; where
-- heartbeats were for some of the tasks only, when each ends.
local LEASES, ENDS = P .. 'leases', P .. 'ends'
local RECORD = '<c32dBI4dBc0Bc0I2c0I2c0'

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

-- Where a token's task is in its lease.
local function position_of(token)
  return tonumber(string.sub(token, 14), 16)
end

-- Takes tasks that follow each other out of a lease.
local function leave(lease, position, count)
  local tasks = lease.tasks
  lease.tasks = string.sub(tasks, 1, position) .. string.rep('-', count)
    .. string.sub(tasks, position + count + 1)
end

-- Stores a lease that has changed, or removes one that is over.
local function store_lease(lease)
  if string.find(lease.tasks, 'r', 1, true) then
    call('HSET', LEASES, lease.name, pack_lease(lease))
    return
  end
  call('ZREM', ENDS, lease.name)
  call('HDEL', LEASES, lease.name)
  -- Of a job that is no more: the same request may have got another lease since.
  if call('HGET', LEASES, lease.request) == lease.name then call('HDEL', LEASES, lease.request) end
end
