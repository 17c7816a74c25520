-- One wrk run: GET the given path, or POST packages that do not exist yet; prints a line of figures.
local number, path, method

function init(args)
  method = args[1]
  number = tonumber(args[2] or 0)
end

function request()
  if method == "POST" then
    number = number + 1
    return wrk.format("POST", nil, nil, '{"name":"bench","version":"' .. number .. '.0.0"}')
  end
  return wrk.format("GET")
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("FIGURES %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
