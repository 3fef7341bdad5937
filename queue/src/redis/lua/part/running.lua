-- The running attempt that a ticket stands for: job, layer, entry; or why there is none.
local function running(id, at, index, proof)
  local j = load_job(id)
  if not j then return nil, nil, nil, 'nojob' end
  if at >= j.size then return j, nil, nil, 'notask' end
  local l = layer(j, at)
  if tonumber(index) >= l.tasks then return j, l, nil, 'notask' end
  if j.cancelled == 1 then return j, l, nil, 'cancelled' end
  local packed = call('HGET', j.key, at .. '/' .. index)
  if not packed or string.sub(packed, 1, 21) ~= proof then
    return j, l, nil, 'stale'
  end
  return j, l, read_entry(packed)
end
