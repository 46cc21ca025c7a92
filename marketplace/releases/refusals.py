"""What is said when a reservation, a record or an answer is refused."""

from marketplace.budgets.model import most_micro_rho
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Ask, State


def check_price(ask: Ask) -> None:
    """Raise if the releases cost more than the epsilon asked for buys (attacks F3, F5)."""
    if not float(ask.epsilon) > 0:
        raise MarketplaceError("BAD_REQUEST", "Epsilon is a positive number.", "epsilon 应为正数。")
    price, most = sum(i.cost.micro_rho for i in ask.items), most_micro_rho(ask.epsilon)
    if price > most:
        raise MarketplaceError(
            "EPSILON_TOO_LARGE",
            f"Epsilon {ask.epsilon} buys {most} micro-rho, and this answer would cost {price}.",
            f"epsilon {ask.epsilon} 可用 {most} micro-rho，而此回答需 {price}。",
        )


def not_a_member(user: str) -> MarketplaceError:
    """Refuse a user whose token was taken away while the gateway still remembered it."""
    return MarketplaceError(
        "GRANT_REVOKED",
        f"User {user} may no longer ask for this organisation. Sign in again.",
        f"用户 {user} 已不能代表该机构提问，请重新登录。",
    )


def another_question() -> MarketplaceError:
    """Refuse an operation id that stands for another question."""
    return MarketplaceError(
        "OPERATION_MISMATCH",
        "This operation id was used for another question. Ask again; the client makes a new id.",
        "该操作编号已用于另一个问题。请重新提问，客户端会生成新的编号。",
    )


def closed(state: State) -> MarketplaceError:
    """Refuse to go on with a reservation that was closed."""
    kept = "it was paid back" if state is State.REFUNDED else "what it paid stays paid"
    kept_zh = "已退回" if state is State.REFUNDED else "已支付的部分不退"
    return MarketplaceError(
        "RESERVATION_CLOSED",
        f"This reservation is {state.value}; {kept}. Ask again.",
        f"该预留的状态为 {state.value}，{kept_zh}。请重新提问。",
    )


def incomplete() -> MarketplaceError:
    """Refuse the receipt of a reservation that is not recorded."""
    return MarketplaceError(
        "RESERVATION_CLOSED",
        "Nothing is recorded for this reservation yet, so it has no receipt.",
        "该预留尚无已记录的结果，因此没有回执。",
    )


def not_the_holder() -> MarketplaceError:
    """Refuse a fencing token that is unknown, or that another process took over."""
    return MarketplaceError(
        "NOT_FOUND",
        "There is no such reservation for this token; another process may have taken it over. "
        "Reserve again with the same operation id.",
        "没有与该令牌对应的预留，可能已由另一进程接手。请用相同的操作编号重新预留。",
    )


def refund_refused(attempts: int) -> MarketplaceError:
    """Refuse a refund when an earlier holder may have read data."""
    return MarketplaceError(
        "REFUND_REFUSED",
        f"{attempts} processes held this reservation, and one of the earlier ones may have read "
        "data, so nothing is paid back. Close it as failed, or go on.",
        f"曾有 {attempts} 个进程持有该预留，先前的进程可能已读取数据，因此不退回。"
        "请将其标记为失败或继续计算。",
    )


def version_changed() -> MarketplaceError:
    """Refuse to record an answer over data that has been replaced."""
    return MarketplaceError(
        "VERSION_CHANGED",
        "A table got a new version while the answer was computed, so it was not released. "
        "Ask again.",
        "计算期间有表更新了版本，因此未发布该结果。请重新提问。",
    )


def answer_differs() -> MarketplaceError:
    """Refuse a second draw of noise for one charge."""
    return MarketplaceError(
        "ANSWER_DIFFERS",
        "Other bytes are already recorded for this reservation; they stay.",
        "该预留已记录了不同的回答，以已记录的为准。",
    )


def no_such_release() -> MarketplaceError:
    """Refuse a release or receipt that is not the tenant's."""
    return MarketplaceError(
        "NOT_FOUND", "Your organisation has no such release.", "贵机构没有该发布结果。"
    )


def malformed(en: str) -> MarketplaceError:
    """Refuse a request that the gateway should not have made."""
    return MarketplaceError("BAD_REQUEST", f"{en}.", f"请求不符合约定：{en}。")
