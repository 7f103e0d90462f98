"""What may be imported by spreadsheet: sheets, columns, and the words that may stand in them."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from contracts.office import ImportSubject
from contracts.people import Level, Role

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 64 * 1024 * 1024
TAGS_MAX: Final = 500_000  # of all parts together: 2000 full rows have some 300,000, and reading costs by the tag
TAG_BYTES_MAX: Final = 1024 * 1024  # from one "<" to the next: a cell holds 32,767 characters, and an attribute is shorter
PARTS_MAX: Final = 500
AREA_CELLS_MAX: Final = 2_000_000  # rows times columns between the first and the last cell of a sheet
TEXT_CHARACTERS_MAX: Final = 4000
FAULTS_MAX: Final = 200
CODES_SHEET: Final = "代码"


class Reads(str, Enum):
    """How the cells of a column are read (api/workbook_cells.py). Of all but TEXT, full-width forms are read as plain ones."""

    TEXT = "text"  # words for people, as typed
    NAME = "name"  # of a person
    WORD = "word"  # of a list
    UNIT = "unit"  # a unit by its code, or by its name
    PHONE = "phone"  # a mobile number
    CONTACT = "contact"  # any telephone number
    DAY = "day"
    NUMBER = "number"


class Column(msgspec.Struct, frozen=True):
    """`heading` as it stands in the first row; the order of columns does not matter."""

    name: str
    heading: str
    is_required: bool = False
    reads: Reads = Reads.WORD


class Sheet(msgspec.Struct, frozen=True):
    title: str
    columns: tuple[Column, ...]
    rows_max: int


UNITS: Final = Sheet(
    "单位",
    (
        Column("code", "单位代码", True, Reads.UNIT),
        Column("parent", "上级单位代码", True, Reads.UNIT),
        Column("level", "级别", True),
        Column("name", "名称", True, reads=Reads.TEXT),
    ),
    500,
)
PEOPLE: Final = Sheet("人员", (Column("phone", "手机号", True, Reads.PHONE), Column("name", "姓名", True, reads=Reads.NAME)), 300)
DUTIES: Final = Sheet(
    "职责",
    (
        Column("phone", "手机号", True, Reads.PHONE),
        Column("role", "职责", True),
        Column("unit", "单位代码", True, Reads.UNIT),
        Column("starts", "开始日期", reads=Reads.DAY),
        Column("ends", "结束日期", reads=Reads.DAY),
    ),
    1000,
)
SITES: Final = Sheet(
    "监管对象",
    (
        Column("name", "名称", True, reads=Reads.TEXT),
        Column("unit", "单位代码", True, Reads.UNIT),
        Column("subjects", "类别", True),
        Column("address", "地址", reads=Reads.TEXT),
        Column("lat", "纬度", reads=Reads.NUMBER),
        Column("lng", "经度", reads=Reads.NUMBER),
        Column("datum", "坐标系"),
        Column("accuracy_m", "精度(米)", reads=Reads.NUMBER),
        Column("protection_zone", "保护区分区"),
        Column("contact", "责任人", reads=Reads.NAME),
        Column("contact_phone", "联系电话", reads=Reads.CONTACT),
        Column("period_days", "检查周期(天)", reads=Reads.NUMBER),
        Column("tags", "标签", reads=Reads.TEXT),
        Column("note", "备注", reads=Reads.TEXT),
    ),
    2000,
)
SHEETS: Final[dict[ImportSubject, tuple[Sheet, ...]]] = {ImportSubject.STAFF: (UNITS, PEOPLE, DUTIES), ImportSubject.SITES: (SITES,)}

LEVEL_WORDS: Final[dict[str, Level]] = {"网格": Level.GRID, "队伍": Level.TEAM, "部门": Level.DEPARTMENT}
ROLE_WORDS: Final[dict[str, Role]] = {
    "网格员": Role.GRID_MEMBER,
    "秦岭网格员": Role.QINLING_GRID_MEMBER,
    "村(社区)负责人": Role.VILLAGE_LEAD,
    "镇办工作人员": Role.TOWNSHIP_STAFF,
    "镇办负责人": Role.TOWNSHIP_LEAD,
    "部门经办人": Role.DEPARTMENT_STAFF,
    "部门负责人": Role.DEPARTMENT_LEAD,
    "县级督办": Role.COUNTY_SUPERVISOR,
    "市级督办": Role.CITY_SUPERVISOR,
    "系统管理员": Role.ADMIN,
    "只读审计": Role.AUDITOR,
}
ZONE_WORDS: Final = {"核心保护区": "core", "重点保护区": "key", "一般保护区": "general", "保护区外": "outside"}
DATUM_WORDS: Final = {"WGS-84": "wgs84", "CGCS2000": "wgs84", "GCJ-02": "gcj02"}  # CGCS2000 is WGS-84 at a phone's accuracy

# Where GCJ-02 is one: latitude and longitude, south-west to north-east.
CHINA_LAT: Final = (0.8293, 55.8271)
CHINA_LNG: Final = (72.004, 137.8347)


# What can be wrong with a cell, a row or a file.
FAULT_TEXTS: Final[dict[str, str]] = {
    "not_a_workbook": "文件不是可识别的 xlsx 工作簿，请用 Excel 或 WPS 打开后另存为 .xlsx",
    "file_is_empty": "文件是空的，请重新选择",
    "file_is_cut": "文件不完整，可能没有下载或复制完，请重新取得后再试",
    "old_xls": "文件是旧版 .xls 或 .et，请用 Excel 或 WPS 打开后另存为 .xlsx",
    "encrypted": "文件加了密码，请打开后取消密码，另存为 .xlsx",
    "xlsb": "文件是 .xlsb，请用 Excel 打开后另存为“Excel 工作簿(.xlsx)”",
    "other_office_file": "文件不是 Excel 工作簿（是 Word、ODS 等其他格式），请用 Excel 或 WPS 打开后另存为 .xlsx",
    "plain_text": "文件是 CSV 或文本，请用 Excel 或 WPS 打开、核对后另存为 .xlsx",
    "web_page": "文件是网页格式的表格（扩展名虽是 .xls），请用 Excel 或 WPS 打开后另存为 .xlsx",
    "too_large": "工作簿解压后过大，请只保留要导入的内容",
    "too_costly": "读取该文件所需的时间或内存超过上限，请把要导入的内容复制到新的工作簿再试",
    "far_cell": "有内容的单元格离表格过远，请删除其所在的行或列",
    "sheet_missing": "缺少工作表",
    "sheet_unknown": "不认识的工作表，请改成模板中的名称或删除",
    "sheet_hidden": "工作表是隐藏的，请取消隐藏、核对后再导入",
    "rows_hidden": "有内容的行被隐藏或筛选掉了，请取消隐藏、清除筛选，核对后再导入",
    "column_hidden": "有内容的列被隐藏了，请取消隐藏、核对后再导入",
    "column_without_heading": "该列没有列名，请填写列名或删除内容",
    "merged_heading": "列名所在的单元格是合并的，请取消合并",
    "merged_across": "合并单元格跨了几列，请取消合并后分别填写",
    "merged_over": "合并单元格下面还有看不到的内容，请取消合并、核对后再导入",
    "drawing": "工作表上有图片、文本框等，其中的内容不会被读取，请填入单元格后删除",
    "comment": "单元格有批注，批注不会被读取，请填入“备注”等列后删除批注",
    "column_missing": "缺少列",
    "column_unknown": "不认识的列，请改成模板中的列名或删除",
    "column_twice": "同名的列不止一个",
    "too_many_rows": "行数超过上限",
    "nothing_to_import": "没有可导入的内容",
    "required": "必填",
    "formula": "不允许填写公式，请复制后用“选择性粘贴—数值”粘贴",
    "cell_error": "单元格是错误值（如 #N/A），请改为正确的内容",
    "struck_out": "内容带删除线，请删除，或去掉删除线后再导入",
    "shown_otherwise": "单元格显示的与其中存储的不同，请把格式改为“常规”或“文本”，核对后再导入",
    "became_date": "内容被表格软件自动变成了日期，请把单元格格式改为“文本”后重新填写",
    "digits_lost": "数字过长，被表格软件变成了科学计数，后几位可能已丢失，请把单元格格式改为“文本”后重新填写",
    "zeros_lost": "是数字单元格，前面的 0 可能已丢失，请把单元格格式改为“文本”后重新填写",
    "looks_like_formula": "内容不能以 = + - @ 或制表符开头",
    "too_long": "内容过长",
    "not_a_phone": "不是有效的手机号",
    "not_a_code": "代码格式不正确",
    "not_one_line": "须为一行可读的文字，不含换行和控制字符",
    "not_a_name": "名称须为一行文字，且不含尖括号",
    "not_a_number": "不是有效的数字",
    "not_whole": "须为整数",
    "not_a_date": "不是有效的日期（如 2026-12-01）",
    "unknown_word": "不是可选的内容，请见“代码”表",
    "duplicate": "与本文件其他行重复",
    "unit_exists": "该单位代码已存在，且上级、级别或名称不同",
    "account_exists": "该手机号已有账号：是同一人的，直接授予职责（表格中只填“职责”表）；号码已换机主的，先停用原账号，再用此号码新建",
    "account_elsewhere": "该手机号已有不归您管理的账号：请核对号码；确是此人的，请上级管理员授予职责；号码已换机主的，请原单位停用旧账号",
    "account_missing": "该手机号没有账号，也不在“人员”表中",
    "account_disabled": "此人的账号已停用：请恢复账号后授予职责；是同名的另一人的，请在姓名后加注区别",
    "person_outside_your_units": "该人员还有（或半年内有过）您管辖范围以外的职责，请由管辖其全部职责的上级管理员办理",
    "not_to_yourself": "不能为本人办理，请由另一名管理员办理",
    "auditor_is_apart": "只读审计不能同时是系统管理员或督办，请先结束原有职责，或另选人员",
    "starts_too_early": "开始日期过早，不能补登这么久以前的职责；请填写允许范围内的日期，或留空从现在开始",
    "too_many_duties": "该人员的职责过多，不能再增加；请核对是否重复授予",
    "person_without_duty": "该人员在“职责”表中没有职责",
    "duty_exists": "该人员已有此职责，且起止日期不同",
    "site_exists": "该单位已有同名监管对象",
    "position_incomplete": "纬度、经度须同时填写",
    "datum_missing": "填写纬度、经度须注明坐标系",
    "not_in_china": "纬度、经度不在国内，请检查是否填反",
    "one_county": "一个文件只能导入同一县区的监管对象",
    "unknown_unit": "单位代码不存在，请核对",
    "unit_ambiguous": "同名的单位不止一个，请填写单位代码",
    "outside_your_units": "不在您的管辖范围内，请由该单位或上级单位的管理员办理",
    "not_allowed": "您的职责不能在该单位登记监管对象",
    "role_does_not_fit_unit": "该职责不适用于该级别的单位，请选择相应级别的单位",
    "level_is_not_added": "只能新增或更名网格、队伍、部门；镇办和村(社区)按国家统计代码更新",
    "ends_before_it_starts": "结束日期早于开始日期，请更正",
    "ends_in_the_past": "结束时间不能早于现在，请改为现在或以后的时间",
    "unit_closed": "该单位已撤并，请改选承接其工作的单位",
    "level_is_not_closed": "市、县区和功能区不能撤并，只能撤并其下的单位",
    "closes_in_the_past": "撤并日期不能早于今天，请更正",
    "ended_already": "该职责已经结束，需要时可重新授予",
    "last_admin": "该单位再无其他系统管理员，不能结束，请先授予另一人系统管理员职责",
    "refused": "未能入库",
}
