-- The offer that a worker gets where several groups or users have some.

-- Tasks that a user may be ahead of another before a worker unloads its models.
local SLACK = 16

-- Whether the worker has the models of these needs loaded.
local function has_models(needs, loaded)
  for model in string.gmatch(string.match(needs, '^%d+|[^|]*|(.*)$'), '[^\n]+') do
    if not string.find(loaded, '\n' .. model .. '\n', 1, true) then return false end
  end
  return true
end

-- The user of a group who has had least, and how much. The group's own numbers may be old:
-- they are put right from the top until the top one is right.
local function least(group)
  local users = P .. 'u:' .. group
  while true do
    local top = call('ZRANGE', users, 0, 0, 'WITHSCORES')
    local served = tonumber(call('HGET', P .. 'served', top[1])) or 0
    if served <= tonumber(top[2]) then return top[1], served end
    call('ZADD', users, served, top[1])
  end
end

-- Whether offer a goes before offer b of the same priority.
local function before(a, b)
  local x, y = math.floor(a.served / SLACK), math.floor(b.served / SLACK)
  if x ~= y then return x < y end
  if a.loaded ~= b.loaded then return a.loaded end
  if a.served ~= b.served then return a.served < b.served end
  if a.user ~= b.user then return a.user < b.user end
  return a.age < b.age
end

-- Answers the user and `<job>/<layer>`.
local function choose(memory, tags, loaded)
  local best
  local from = 0
  while true do
    local groups = call('ZRANGE', P .. 'ready', from, from + 15)
    for _, group in ipairs(groups) do
      local priority, needs = string.match(group, '^(-?%d+)|(.*)$')
      if best and priority ~= best.priority then return best.user, best.layer end
      if fits(needs, memory, tags) then
        local user, served = least(group)
        local oldest = call('ZRANGE', P .. 'o:' .. group .. '|' .. user, 0, 0, 'WITHSCORES')
        local offer = {
          priority = priority, user = user, served = served, loaded = has_models(needs, loaded),
          layer = oldest[1], age = tonumber(oldest[2]),
        }
        if not best or before(offer, best) then best = offer end
      end
    end
    if #groups < 16 then return best and best.user, best and best.layer end
    from = from + 16
  end
end
