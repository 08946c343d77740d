-- What Quarto does and pandoc does not: folded callouts as <details>, tables that scroll by themselves.
local function html(text) return pandoc.RawBlock("html", text) end

local function escape(text) return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub('"', "&quot;")) end

function Div(el)
  if el.classes:includes("callout-tip") then
    local blocks = pandoc.List({html('<details class="callout tip"><summary>' .. escape(el.attributes.title) .. "</summary>")})
    blocks:extend(el.content)
    blocks:insert(html("</details>"))
    return blocks
  end
end

function Table(el)
  for _, column in ipairs(el.colspecs) do column[2] = nil end -- widths come from the text, not from the length of source lines
  return pandoc.Div({el}, pandoc.Attr("", {"scroll"}, {tabindex = "0"}))
end
