-- What a client is told of its lease.
local function told(id, at, first, until_, attempts, name, n)
  return {'work', id .. ' ' .. at .. ' ' .. first .. ' ' .. until_ .. ' ' .. attempts .. ' '
    .. name .. ' ' .. n}
end
