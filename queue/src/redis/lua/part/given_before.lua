-- The answer to a request that was given a lease, while one of its tasks runs: a client that lost
-- the answer asks again.
local function given_before(name)
  local packed = call('HGET', LEASES, name)
  if not packed then return end
  local lease = read_lease(name, packed)
  local j = job_of(lease.job)
  if not j or j.number ~= lease.number or j.cancelled == 1 then return end
  local each = {}
  for position = 0, #lease.attempts / 4 - 1 do each[position + 1] = attempt_of(lease, position) end
  return {'work', lease.job .. ' ' .. lease.at .. ' ' .. lease.first .. ' ' .. lease.expires .. ' '
    .. table.concat(each, ',') .. ' ' .. name .. ' ' .. #lease.tasks}
end
