-- What happened, published at the end in one message: each event as `<length>:<text>`.
local events = {}

local function event(text)
  events[#events + 1] = #text .. ':' .. text
end

local function publish()
  if #events > 0 then
    call('PUBLISH', P .. 'events', table.concat(events))
  end
end
