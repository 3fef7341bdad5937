-- Entries: what is known of a task that has been tried and is not done. Field `<layer>/<index>`
-- of the job: state (`L`eased, `D`elayed, `F`ailed, `W`aiting), attempt, failures, time (of the
-- next attempt), last error. In chains and neighbours, where single tasks become free, those
-- that run have one from the first attempt on; else they have none until it has ended.
local ENTRY = '<c1I4I4d'

local function pack_entry(e)
  return struct.pack(ENTRY, e.state, e.attempt, e.failures, e.time) .. e.error
end

local function read_entry(packed)
  local state, attempt, failures, time, rest = struct.unpack(ENTRY, packed)
  return {
    state = state, attempt = attempt, failures = failures, time = time,
    error = string.sub(packed, rest),
  }
end

-- The entry of a task that runs.
local function entry_of(j, l, index, attempt)
  local packed = call('HGET', j.key, l.at .. '/' .. index)
  if packed then return read_entry(packed) end
  return {state = 'L', attempt = attempt, failures = 0, time = 0, error = ''}
end
