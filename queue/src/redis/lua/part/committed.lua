-- Which attempts were committed, for a client that lost the answer. Tokens of one lease differ in
-- their last three digits only, so a lease has one field in part/settle.lua's hashes, named by
-- the digits before: `<time> <last digits of each>;` for each commit.

local function settle_commits(tokens, memory)
  local leases, digits, n = {}, {}, 0
  for i = 1, #tokens do
    local lease = string.sub(tokens[i], 1, 13)
    local list = digits[lease]
    if not list then
      n = n + 1
      list = {}
      leases[n], digits[lease] = lease, list
    end
    list[#list + 1] = string.sub(tokens[i], 14)
  end
  local before = call('HMGET', settled_at(memory, 0), unpack(leases))
  local fields = {}
  local at = string.format('%.0f ', now)
  for i = 1, n do
    local lease = leases[i]
    fields[2 * i - 1] = lease
    fields[2 * i] = (before[i] or '') .. at .. table.concat(digits[lease]) .. ';'
  end
  keep(fields, memory)
end

local function was_committed(token, memory)
  local lease, last = string.sub(token, 1, 13), string.sub(token, 14)
  for age = 0, 1 do
    local found = call('HGET', settled_at(memory, age), lease)
    for at, digits in string.gmatch(found or '', '(%d+) (%x+);') do
      for i = 1, #digits, 3 do
        if string.sub(digits, i, i + 2) == last and now - at < memory + 0 then return true end
      end
    end
  end
  return false
end
