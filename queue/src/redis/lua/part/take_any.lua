-- Takes up to `most` tasks of a layer, whatever they are, and tells of it in words that begin with
-- `head`. Answers the first, how many, their attempts (packed, and as text).
local function take_any(j, l, most, head)
  local cursor, single = l.cursor, l.kind == 1 or l.kind == 2
  local taken = take(j, l, most)
  l.leased, l.changed = l.leased + #taken, true
  event(head .. taken[1] .. ' ' .. #taken)
  local each, packed, fields, is_fresh = {}, {}, {}, true
  for i, index in ipairs(taken) do
    local entry = {state = 'L', attempt = 1, failures = 0, time = 0, error = ''}
    -- Only what is below the cursor has been leased before.
    local old = (index < cursor or single) and call('HGET', j.key, l.at .. '/' .. index)
    if old then
      entry = read_entry(old)
      entry.state, entry.attempt, is_fresh = 'L', entry.attempt + 1, false
    end
    if old or single then
      fields[#fields + 1], fields[#fields + 2] = l.at .. '/' .. index, pack_entry(entry)
    end
    each[i], packed[i] = entry.attempt, struct.pack('<I4', entry.attempt)
  end
  if fields[1] then call('HSET', j.key, unpack(fields)) end
  j.started = 1
  offer_layer(j, l)
  settle_state(j)
  if l.offered == 0 and call('EXISTS', P .. 'ready') == 0 then
    call('PUBLISH', P .. 'wake', 'taken ' .. (farm[2] or 0))
  end
  if is_fresh then return taken[1], #taken, '\1\0\0\0', '1' end
  return taken[1], #taken, table.concat(packed), table.concat(each, ',')
end
