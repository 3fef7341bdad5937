-- What a client is told of its lease; `place` are job, layer and first task.
local function told(place, expires, attempts, name, n)
  return {'work', place .. expires .. ' ' .. attempts .. ' ' .. name .. ' ' .. n}
end
