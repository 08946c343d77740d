-- What Quarto does and pandoc does not: callouts (folded ones as <details>), tables that scroll by themselves.
local NAMES = {tip = "Tip", note = "Note", important = "Important", warning = "Warning", caution = "Caution"}

local function html(text) return pandoc.RawBlock("html", text) end

local function escape(text) return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub('"', "&quot;")) end

function Div(el)
  for _, class in ipairs(el.classes) do
    local kind = class:match("^callout%-(%a+)$")
    if kind then
      local title, inside = el.attributes.title, el.content
      if not title and inside[1] and inside[1].t == "Header" then
        title = pandoc.utils.stringify(inside:remove(1))
      end
      title = escape(title or NAMES[kind] or kind)
      local blocks = pandoc.List()
      if el.attributes.collapse then
        local open = el.attributes.collapse == "false" and " open" or ""
        blocks:insert(html('<details class="callout ' .. kind .. '"' .. open .. "><summary>" .. title .. "</summary>"))
        blocks:extend(inside)
        blocks:insert(html("</details>"))
      else
        blocks:insert(html('<aside class="callout ' .. kind .. '" aria-label="' .. title .. '"><p class="callout-title">' .. title .. "</p>"))
        blocks:extend(inside)
        blocks:insert(html("</aside>"))
      end
      return blocks
    end
  end
end

function Table(el)
  for _, column in ipairs(el.colspecs) do column[2] = nil end -- widths come from the text, not from the length of source lines
  return pandoc.Div({el}, pandoc.Attr("", {"scroll"}, {tabindex = "0"}))
end
