-- Neither done nor running nor failed nor put off. `undone` says that it has just been done over.
local function is_waiting(j, l, index, undone)
  if has(l.map .. 'd', index) then return false end
  local packed = call('HGET', j.key, l.at .. '/' .. index)
  if packed then return string.sub(packed, 1, 1) == 'W' end
  -- Without an entry a task below the cursor runs, unless it came back.
  return l.kind == 1 or l.kind == 2 or undone or index >= l.cursor or has(l.map .. 'r', index)
end

-- Whether the tasks that this one follows are done.
local function is_free(j, l, index)
  if l.kind == 0 then return true end
  if l.kind == 1 then
    return index == 0 or has(l.map .. 'd', index - 1)
  end
  if l.kind == 3 then return all_below(j, l) end
  local below = layer(j, l.at - 1)
  for i = math.max(index - 1, 0), math.min(index + 1, below.tasks - 1) do
    if not has(below.map .. 'd', i) then return false end
  end
  return true
end

-- Keeps the ready tasks true for one task. Answers how many tasks this opened: 0 or 1.
local function offer(j, l, index, undone)
  if index < 0 or index >= l.tasks then return 0 end
  local waits = is_waiting(j, l, index, undone)
  local free = waits and is_free(j, l, index)
  local mark = free
  if l.kind == 0 or l.kind == 3 then
    mark = waits and index < l.cursor
  end
  if mark then
    if l.ready == 0 or index < l.low then
      l.low = index
      l.changed = true
    end
    if put(l.map .. 'r', index) then
      l.ready = l.ready + 1
      l.changed = true
    end
  elseif cut(l.map .. 'r', index) then
    l.ready = l.ready - 1
    l.changed = true
  end
  return free and 1 or 0
end

-- Offers what follows a task that has just been done or undone. Answers how many tasks are
-- open among them, not counting those of a layer that opens as a whole.
local function offer_after(j, l, index)
  local opened = 0
  if l.kind == 1 then
    opened = offer(j, l, index + 1)
  end
  if l.at + 1 < j.size then
    local above = layer(j, l.at + 1)
    if above.kind == 2 then
      for i = index - 1, index + 1 do
        opened = opened + offer(j, above, i)
      end
    end
  end
  return opened
end

-- Lists or unlists the layer and those that its tasks open.
local function offer_layers(j, l)
  offer_layer(j, l)
  for at = l.at + 1, j.size - 1 do
    local above = layer(j, at)
    if above.kind == 3 or above.kind == 2 and at == l.at + 1 then offer_layer(j, above) end
    -- What is above it waits for it, too, unless it is done.
    if above.kind == 3 and above.done < above.tasks then break end
  end
end

-- How many tasks are open in the layer that waits for all of those below, this one among them.
local function opened_by_layer(j, l)
  for at = l.at + 1, j.size - 1 do
    local above = layer(j, at)
    if above.kind == 3 and above.done < above.tasks then return available(j, above) end
  end
  return 0
end
