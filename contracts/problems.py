"""The catalogue of what can be wrong with a request: stable codes for machines, Chinese for people (RFC 9457).

HTTP-free: api/problems.py gives each code its status. A new problem is one line in each table here and one there; a test fails
while a code has no status, no Chinese title or nothing that says what to do.
"""

from __future__ import annotations

from enum import Enum
from typing import Any


class ProblemCode(str, Enum):
    """The value is the last part of the problem's `type` URI."""

    MALFORMED_REQUEST = "malformed_request"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    NOT_AUTHENTICATED = "not_authenticated"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code
    WRONG_CREDENTIALS = "wrong_credentials"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_DISABLED = "account_disabled"
    PASSWORD_CHANGE_REQUIRED = "password_change_required"  # noqa: S105 - a code
    SECOND_FACTOR_NEEDED = "second_factor_needed"
    SECOND_FACTOR_WRONG = "second_factor_wrong"
    SECOND_FACTOR_REQUIRED = "second_factor_required"
    TOO_MANY_DEVICES = "too_many_devices"
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    DEVICE_MISMATCH = "device_mismatch"
    DEVICE_REVOKED = "device_revoked"
    CONFLICTING_STATE = "conflicting_state"
    INVALID_VALUE = "invalid_value"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_SLOW = "too_slow"
    BUSY = "busy"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    PHOTO_NOT_ANNOUNCED = "photo_not_announced"
    PHOTO_HASH_MISMATCH = "photo_hash_mismatch"
    PHOTO_SIZE_MISMATCH = "photo_size_mismatch"
    PHOTO_TOO_LARGE = "photo_too_large"
    PHOTO_EMPTY = "photo_empty"
    PHOTO_DAY_FULL = "photo_day_full"
    PHOTO_TOO_MANY_PIXELS = "photo_too_many_pixels"
    PHOTO_NOT_AN_IMAGE = "photo_not_an_image"
    PHOTO_BOMB = "photo_bomb"
    PHOTO_INCOMPLETE = "photo_incomplete"
    UPLOAD_EXPIRED = "upload_expired"
    INTERNAL = "internal"


# The title: what is wrong.
TEXT_ZH: dict[ProblemCode, str] = {
    ProblemCode.MALFORMED_REQUEST: "请求内容无法识别",
    ProblemCode.BODY_TOO_LARGE: "请求内容过大",
    ProblemCode.UNSUPPORTED_ENCODING: "不支持的压缩方式",
    ProblemCode.NOT_AUTHENTICATED: "请先登录",
    ProblemCode.TOKEN_EXPIRED: "登录已过期，请刷新",
    ProblemCode.WRONG_CREDENTIALS: "手机号或密码不正确",
    ProblemCode.ACCOUNT_LOCKED: "登录失败次数过多，账号暂时锁定",
    ProblemCode.ACCOUNT_DISABLED: "账号已停用",
    ProblemCode.PASSWORD_CHANGE_REQUIRED: "请先设置新密码",
    ProblemCode.SECOND_FACTOR_NEEDED: "请输入动态验证码",
    ProblemCode.SECOND_FACTOR_WRONG: "验证码不正确或已用过",
    ProblemCode.SECOND_FACTOR_REQUIRED: "请先设置第二因素",
    ProblemCode.TOO_MANY_DEVICES: "登记的设备过多",
    ProblemCode.NOT_ALLOWED: "您的职责不能办理此项",
    ProblemCode.NOT_FOUND: "未找到",
    ProblemCode.METHOD_NOT_ALLOWED: "不支持的请求方式",
    ProblemCode.DEVICE_MISMATCH: "设备与登录凭证不符",
    ProblemCode.DEVICE_REVOKED: "设备已停用，请重新登记",
    ProblemCode.CONFLICTING_STATE: "当前状态不能这样办理",
    ProblemCode.INVALID_VALUE: "填写内容不符合要求",
    ProblemCode.TOO_MANY_REQUESTS: "请求过于频繁，请稍后再试",
    ProblemCode.TOO_SLOW: "网络过慢，请求没有传完",
    ProblemCode.BUSY: "服务器繁忙，请稍后再试",
    ProblemCode.STORAGE_UNAVAILABLE: "存储暂不可用，请稍后再试",
    ProblemCode.PHOTO_NOT_ANNOUNCED: "照片尚未登记，请先同步记录",
    ProblemCode.PHOTO_HASH_MISMATCH: "照片内容与登记的校验值不符，请重新上传",
    ProblemCode.PHOTO_SIZE_MISMATCH: "照片大小与登记不符，请重新上传",
    ProblemCode.PHOTO_TOO_LARGE: "照片过大",
    ProblemCode.PHOTO_EMPTY: "照片文件是空的",
    ProblemCode.PHOTO_DAY_FULL: "今日上传的照片已达上限，照片仍在您的手机上",
    ProblemCode.PHOTO_TOO_MANY_PIXELS: "照片像素过多，无法生成缩略图",
    ProblemCode.PHOTO_NOT_AN_IMAGE: "文件不是可识别的照片",
    ProblemCode.PHOTO_BOMB: "照片文件异常，无法安全打开",
    ProblemCode.PHOTO_INCOMPLETE: "照片尚未传完",
    ProblemCode.UPLOAD_EXPIRED: "上传地址已过期，请重新获取",
    ProblemCode.INTERNAL: "服务器内部错误",
}


# What to do about it, where whoever raises it has nothing more exact to say.
DETAIL_ZH: dict[ProblemCode, str] = {
    ProblemCode.MALFORMED_REQUEST: "请更新应用或刷新页面后重试；仍不行请联系管理员",
    ProblemCode.BODY_TOO_LARGE: "请减少一次提交的内容，分几次提交",
    ProblemCode.UNSUPPORTED_ENCODING: "请用 zstd 或 gzip 压缩，或不压缩",
    ProblemCode.NOT_AUTHENTICATED: "请用手机号和密码登录后再试",
    ProblemCode.TOKEN_EXPIRED: "应用会自动刷新；仍提示过期时请重新登录",
    ProblemCode.WRONG_CREDENTIALS: "请检查手机号和密码；忘记密码请由本单位管理员重置",
    ProblemCode.ACCOUNT_LOCKED: "请稍候再登录，已登录过的设备可照常登录；忘记密码请由本单位管理员重置",
    ProblemCode.ACCOUNT_DISABLED: "需要继续使用请联系本单位管理员恢复账号",
    ProblemCode.PASSWORD_CHANGE_REQUIRED: "当前密码由他人设置，请自己设置新密码后登录；本机未提交的内容不受影响",
    ProblemCode.SECOND_FACTOR_NEEDED: "请打开身份验证器应用，输入六位验证码；身份验证器不在身边的，请输入恢复码",
    ProblemCode.SECOND_FACTOR_WRONG: "请等身份验证器显示下一个验证码后再输入；每个验证码和恢复码只能用一次",
    ProblemCode.SECOND_FACTOR_REQUIRED: "管理员、督办和审计须用身份验证器应用设置第二因素后才能使用控制台",
    ProblemCode.TOO_MANY_DEVICES: "请先同步并停用不再使用的设备，或请本单位管理员停用，再登记新设备",
    ProblemCode.NOT_ALLOWED: "请由有相应职责的人员办理，或请管理员授予职责",
    ProblemCode.NOT_FOUND: "可能不存在、已被删除或移交，或不在您的职责范围内；请刷新后再查",
    ProblemCode.METHOD_NOT_ALLOWED: "请更新应用或刷新页面后重试",
    ProblemCode.DEVICE_MISMATCH: "请在本设备上重新登录；换人使用须登记为新设备",
    ProblemCode.DEVICE_REVOKED: "请用新的设备编号重新登录；手机挂失的，数据交回后会被清除",
    ProblemCode.CONFLICTING_STATE: "内容已被办理或更改，请刷新后按现在的状态办理",
    ProblemCode.INVALID_VALUE: "请检查填写的内容后重新提交",
    ProblemCode.TOO_MANY_REQUESTS: "请按提示的时间等待后再试",
    ProblemCode.TOO_SLOW: "尚未提交的内容仍保存在本机，不会丢失，请在网络较好时再试",
    ProblemCode.BUSY: "请稍候再试；尚未提交的内容仍保存在本机，不会丢失",
    ProblemCode.STORAGE_UNAVAILABLE: "请稍候再试；尚未提交的内容仍保存在本机，不会丢失",
    ProblemCode.PHOTO_NOT_ANNOUNCED: "请先同步照片所属的记录，再上传照片",
    ProblemCode.PHOTO_HASH_MISMATCH: "请从原照片重新上传；手机上的原照片请保留",
    ProblemCode.PHOTO_SIZE_MISMATCH: "请从原照片重新上传；手机上的原照片请保留",
    ProblemCode.PHOTO_TOO_LARGE: "请改用较低的分辨率重新拍摄",
    ProblemCode.PHOTO_EMPTY: "文件没有内容，请重新拍摄",
    ProblemCode.PHOTO_DAY_FULL: "请明天再传，或联系管理员；未上传的照片不会丢失",
    ProblemCode.PHOTO_TOO_MANY_PIXELS: "原件已收到并保存；需要缩略图的请改用较低的像素重新拍摄",
    ProblemCode.PHOTO_NOT_AN_IMAGE: "请上传 JPEG、PNG 等相机照片",
    ProblemCode.PHOTO_BOMB: "原件已收到并保存；请用相机重新拍摄一张",
    ProblemCode.PHOTO_INCOMPLETE: "请续传缺少的部分",
    ProblemCode.UPLOAD_EXPIRED: "应用会重新获取地址并续传",
    ProblemCode.INTERNAL: "请稍候再试；仍不行请把请求编号告诉管理员",
}


class Problem(Exception):
    """The request cannot be served. `detail` is for people, in Chinese: what to do, that of the code where nothing else is said.

    `details` are typed members of the answer; `retry_after_s` asks to come again.
    """

    def __init__(self, code: ProblemCode, detail: str = "", *, retry_after_s: int | None = None, **details: Any) -> None:
        super().__init__(f"{code.value}: {detail}" if detail else code.value)
        self.code = code
        self.detail = detail or DETAIL_ZH[code]
        self.details = details
        self.retry_after_s = retry_after_s
