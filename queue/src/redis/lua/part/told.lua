-- What a client is told of its lease; `named` are job, layer and first task.
local function told(named, expires, attempts, name, n)
  return {'work', named .. expires .. ' ' .. attempts .. ' ' .. name .. ' ' .. n}
end
