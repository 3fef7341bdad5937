-- Entries: what is known of a task that has been leased and is not done. Field
-- `<layer>/<index>` of the job: state (`L`eased, `D`elayed, `F`ailed, `W`aiting), token,
-- attempt, failures, time (of the next attempt), worker, last error. A client that has the lease
-- proves it with the first three, 21 bytes.
local ENTRY = '<c1c16I4I4dBc0'

local function pack_entry(e)
  return struct.pack(ENTRY, e.state, e.token, e.attempt, e.failures, e.time, #e.worker, e.worker)
    .. e.error
end

local function read_entry(packed)
  local state, token, attempt, failures, time, worker, rest = struct.unpack(ENTRY, packed)
  return {
    state = state, token = token, attempt = attempt, failures = failures, time = time,
    worker = worker, error = string.sub(packed, rest),
  }
end
