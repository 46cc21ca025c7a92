"""Which reports there are, what their columns mean, and which ones cannot be made yet."""

from collections.abc import Mapping

from marketplace.reports.model import Column, Kind, Text

_HEADS: Mapping[str, tuple[str, str]] = {
    "part": ("part", "类别"),
    "organisation": ("organisation", "机构"),
    "person": ("person", "人员"),
    "name": ("what", "名称"),
    "count": ("count", "数量"),
    "micro_rho": ("micro-rho, in each cohort", "micro-rho（每批次）"),
    "delta_1e12": ("delta, 1e-12", "delta（1e-12）"),
    "time": ("time (UTC+08)", "时间（UTC+08）"),
    "question": ("question", "问题编号"),
    "purpose": ("purpose", "用途"),
    "epsilon": ("epsilon", "epsilon"),
    "cohorts": ("cohorts charged", "计费批次"),
    "state": ("state", "状态"),
    "id": ("id", "编号"),
    "step": ("step", "步骤"),
    "detail": ("detail", "说明"),
    "entry": ("log entry", "日志条目"),
    "tables": ("tables", "数据表"),
    "domain": ("unit domain", "主体域"),
    "cohort": ("cohort", "批次"),
    "cap": ("allotment, micro-rho", "额度（micro-rho）"),
    "left": ("left, micro-rho", "剩余（micro-rho）"),
    "resource": ("resource", "资源"),
    "field": ("field", "字段"),
    "basis": ("basis", "依据"),
    "from": ("from", "自"),
    "until": ("until", "至"),
    "last_used": ("last used", "最近使用"),
    "holds": ("holds", "持有"),
    "rule": ("rule", "规则"),
    "severity": ("severity", "严重程度"),
    "score": ("score", "分值"),
    "action": ("action", "措施"),
    "evidence": ("evidence entries", "证据条目"),
    "handler": ("handler", "处理人"),
    "disposal": ("disposal", "处置结果"),
    "closed_at": ("closed at", "关闭时间"),
}


def _columns(*keys: str) -> tuple[Column, ...]:
    return tuple(Column(key, Text(*_HEADS[key])) for key in keys)


_PRICE = Text(
    "A question costs the same in each of its cohorts, and the figure is that of one cohort. "
    "Refunded questions are listed and cost nothing.",
    "每个问题在其所涉各批次中花费相同，所列为单个批次的花费；已退回的问题列出但不计费。",
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "operation",
            Text("Monthly operation report", "运营月报"),
            _columns("part", "organisation", "name", "count", "micro_rho"),
            (
                _PRICE,
                Text(
                    "Denials count refused questions and refused steps by code. "
                    "Sales are not part of it: nothing is sold yet.",
                    "拒绝按代码统计被拒绝的问题与操作；尚无交易，故不含收入。",
                ),
            ),
        ),
        Kind(
            "table-use",
            Text("Who used this table", "数据表使用情况"),
            _columns(
                "time",
                "question",
                "organisation",
                "person",
                "purpose",
                "epsilon",
                "cohorts",
                "micro_rho",
                "state",
            ),
            (
                _PRICE,
                Text(
                    "Answers are statistics of whole cohorts with noise: whether a certain firm's "
                    "rows were among them is not recorded and cannot be told from an answer. With "
                    "a cohort (the year in which a firm was first ingested), the report holds "
                    "the questions that include firms of that year.",
                    "回答是加噪的整批统计：其中是否含某企业的数据未被记录，也无法由回答得知。"
                    "给出批次（企业首次入库年份）时，报告列出涉及该批次的问题。",
                ),
            ),
            needs=("table",),
            takes=("table", "cohort", "organisation"),
        ),
        Kind(
            "trace",
            Text("Trace of one project", "项目全流程追溯"),
            _columns("time", "step", "id", "organisation", "person", "detail", "micro_rho"),
            (
                Text(
                    "From the request over reviews and grants to questions and releases; the whole "
                    "life of the project, whatever the period. Questions of the table within the "
                    "term of the grant count as asked under it.",
                    "自申请、审核、授权至提问与发布的全过程，不受报告期限制；"
                    "授权期内对该表的提问视为在该授权下进行。",
                ),
            ),
            needs=("request", "grant"),
            takes=("request", "grant"),
        ),
        Kind(
            "ledger",
            Text("Budget ledger by organisation and table", "隐私预算台账（按机构与数据表）"),
            _columns(
                "part",
                "organisation",
                "tables",
                "domain",
                "cohort",
                "count",
                "micro_rho",
                "delta_1e12",
                "cap",
                "left",
            ),
            (
                Text(
                    "Part spent: what questions of the period were charged, by the tables that "
                    "they read; refunded ones are left out. Part account: allotments and caps "
                    "(organisation *) with all that was ever spent of them.",
                    "spent：报告期内各问题按所读数据表的计费，不含已退回；"
                    "account：额度与批次上限（机构为 *）及其累计花费。",
                ),
            ),
            takes=("organisation",),
        ),
        Kind(
            "grades",
            Text("Negative list and changes of grades", "负面清单与定级变更台账"),
            _columns(
                "part",
                "id",
                "resource",
                "field",
                "detail",
                "basis",
                "person",
                "from",
                "until",
                "state",
            ),
            (
                Text(
                    "The negative list as its policy file states it today; changes of grades that "
                    "were reported within the period.",
                    "负面清单为当前策略文件所载；定级变更为报告期内上报者。",
                ),
            ),
        ),
        Kind(
            "permissions",
            Text("Review of permissions", "权限复核（季度）"),
            _columns(
                "part", "organisation", "name", "holds", "from", "until", "state", "last_used"
            ),
            (
                Text(
                    "Who can sign in with which roles, grants of organisations, and stand-ins, as "
                    "of today; last used within all time. An empty last use means never since the "
                    "log is watched.",
                    "截至当前的人员角色、机构授权与代理关系；最近使用不限报告期，"
                    "为空表示自监测以来未使用。",
                ),
            ),
        ),
        Kind(
            "risk-events",
            Text("Risk events", "风险事件"),
            _columns(
                "time",
                "id",
                "rule",
                "severity",
                "score",
                "action",
                "organisation",
                "person",
                "evidence",
                "state",
                "handler",
                "disposal",
                "closed_at",
            ),
            (
                Text(
                    "Events that were raised within the period. Handling notes are read at the "
                    "risk desk.",
                    "报告期内产生的事件；处理意见见风险台。",
                ),
            ),
        ),
    )
}

NOT_AVAILABLE: Mapping[str, Text] = {
    "who-saw-whom": Text(
        "Who used the data of one firm, by USCC: only consented results about single firms could "
        "answer that, and none are offered yet. Statistics name nobody; see table-use.",
        "按统一社会信用代码查询谁使用了某企业数据：仅经授权的单户结果可回答，目前尚未提供；"
        "统计结果不指向任何企业，参见数据表使用情况。",
    ),
    "consent-sampling": Text("No consents are kept yet.", "尚无企业授权书。"),
    "settlement": Text("Nothing is sold or settled yet.", "尚无交易与结算。"),
    "quality-rectification": Text(
        "Ingest reports belong to their providers; rectification is not tracked yet.",
        "质量报告归数据提供方所有，尚未跟踪整改。",
    ),
    "impact-assessments": Text(
        "Assessments are not kept here yet.", "尚未在此保存个人信息保护影响评估。"
    ),
}
