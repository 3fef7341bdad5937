-- Takes up to n tasks of a layer off those that can be leased, from the first on: {index...}.
-- In a chain each follows the one before it in the same lease.
local function take(j, l, n)
  local whole = l.kind == 0 or l.kind == 3
  local taken = {}
  local again = l.ready > 0 and seek(l.map .. 'r', l.low, l.tasks, 1)
  local fresh = whole and l.cursor
  if fresh and l.ahead > 0 then
    fresh = seek(l.map .. 'd', l.cursor, l.tasks, 0) or l.tasks
  end
  if again and not (fresh and fresh < again) then
    l.low = again
    local index = again
    repeat
      taken[#taken + 1] = index
      if cut(l.map .. 'r', index) then l.ready = l.ready - 1 end
      index = index + 1
      local goes_on
      if l.kind == 1 then
        goes_on = is_waiting(j, l, index)
      else
        goes_on = has(l.map .. 'r', index)
      end
    until #taken == n or index >= l.tasks or not goes_on
    if not whole or index ~= l.cursor or #taken == n then return taken end
  end
  if fresh and fresh < l.tasks and (#taken == 0 or fresh == l.cursor) then
    local stop = math.min(fresh + n - #taken, l.tasks)
    if l.ahead > 0 then
      stop = seek(l.map .. 'd', fresh, stop, 1) or stop
      l.ahead = l.ahead - (fresh - l.cursor)
    end
    for index = fresh, stop - 1 do
      taken[#taken + 1] = index
    end
    l.cursor = stop
  end
  return taken
end
