-- The running attempt that a ticket stands for: job, layer, lease, place in it; or why there is
-- none.
local function running(id, at, index, token, attempt)
  local j = load_job(id)
  if not j then return nil, nil, nil, nil, 'nojob' end
  if at >= j.size then return j, nil, nil, nil, 'notask' end
  local l = layer(j, at)
  if index >= l.tasks then return j, l, nil, nil, 'notask' end
  if j.cancelled == 1 then return j, l, nil, nil, 'cancelled' end
  local name, position = string.sub(token, 1, 13), tonumber(string.sub(token, 14), 16)
  local packed = call('HGET', LEASES, name)
  local lease = packed and read_lease(name, packed)
  if not lease or not is_running(lease, j, at, index, position, attempt) then
    return j, l, nil, nil, 'stale'
  end
  return j, l, lease, position
end
