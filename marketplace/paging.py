"""Pages of lists over HTTP: `page` and `size` in the query, neighbours in Link (RFC 8288)."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request, Response
from starlette.datastructures import URL

from marketplace.window import MAX_SIZE, Window

Row = TypeVar("Row")

DEFAULT_SIZE, MAX_PAGE = 100, 10_000


class Pager:
    """A window of a list, whose response names the neighbouring pages."""

    def __init__(self, window: Window, url: URL, response: Response) -> None:
        """Show `window` of what is at `url`."""
        self.window = window
        self._url, self._response = url, response

    def cut(self, everything: Sequence[Row]) -> list[Row]:
        """Return this page of a whole list."""
        return self.page(self.window.fetched(everything))

    def page(self, fetched: Sequence[Row]) -> list[Row]:
        """Return this page of rows that were fetched by `window`."""
        rows, more = self.window.shown(fetched)
        self.tell(more=more)
        return rows

    def tell(self, *, more: bool) -> None:
        """Name the neighbouring pages; addresses are relative, so no caller chooses their host."""
        page, found = self.window.page, []
        if page > 1:
            found += [("first", 1), ("prev", page - 1)]
        if more and page < MAX_PAGE:
            found.append(("next", page + 1))
        if found:
            self._response.headers["link"] = ", ".join(
                f"<{self._url.path}?{self._url.include_query_params(page=number).query}>; "
                f'rel="{name}"'
                for name, number in found
            )


def pager(default: int = DEFAULT_SIZE, most: int = MAX_SIZE) -> Callable[..., Pager]:
    """Return the dependency that reads a page from the query: `default` rows, at most `most`."""

    def read(
        request: Request,
        response: Response,
        page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1,
        size: Annotated[int, Query(ge=1, le=most)] = default,
    ) -> Pager:
        return Pager(Window(page, size), request.url, response)

    return read


Paged = Annotated[Pager, Depends(pager())]


def of_all(page: int = 1, size: int = 100_000) -> Pager:
    """Return the pager of a caller inside the process, who turns pages by itself or not at all."""
    return Pager(Window(page, size), URL(), Response())
