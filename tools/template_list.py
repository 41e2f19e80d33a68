"""The templates, one after the other."""

from __future__ import annotations

from layout import Node, Template, column, note
from templates import (
    BUNDLED,
    fitted,
    folder_job,
    loader,
    painted,
    picture,
    save,
    sharpened,
    size,
    sized,
    stitched,
    tiled,
    upscaled_video,
    video,
)  # fmt: skip

PLUS, ULTRA = "RealESRGAN_x4plus.pth", "4x-UltraSharp.pth"
GENERAL, DENOISING, ANIME = "realesr-general-x4v3.pth", "realesr-general-wdn-x4v3.pth", "realesr-animevideov3.pth"

MISSING = (
    "A model that is missing is offered for download when the workflow opens; put it into the folder "
    "models / upscale_models."
)
GREEN = "Green nodes are the ones to change."
LICENCES = {
    PLUS: "BSD-3-Clause", GENERAL: "BSD-3-Clause", DENOISING: "BSD-3-Clause", ANIME: "BSD-3-Clause",
    ULTRA: "CC BY-NC-SA 4.0, no commercial use",
}  # fmt: skip


def needs(*files: str) -> str:
    lines = [f"- {file} ({LICENCES[file]})" for file in files]
    return "\n\n".join([GREEN, MISSING, "\n".join(lines)])


CHECKPOINT = (
    "- sd_xl_base_1.0.safetensors (Open RAIL++-M, 6.9 GB) goes into models / checkpoints; any other checkpoint of "
    "SDXL will do."
)

QUICK_START = Template(
    title="Quick start - upscale any picture (Backplate)",
    prompt="quick_start",
    columns=[
        column(
            "Input",
            picture("Your picture"),
            loader(BUNDLED, "Model", change_me=True),
            note(
                "# Quick start\nPress **Run**: it works at once, with the small model that comes with Backplate "
                "and the picture that comes with ComfyUI.\n\nThen choose your own picture, and the size in "
                "**Upscale to Resolution**: with *longest* the longer side becomes the larger number and nothing "
                "is cropped.\n\nFor final quality choose RealESRGAN_x4plus.pth in **Model**; the template "
                "*Real-ESRGAN against UltraSharp* offers it for download.\n\n" + GREEN,
                320,
            ),
        ),
        column("Upscale", sized(size(2048, 2048, "longest"), ("Your picture", "IMAGE"), model="Model")),
        column("Result", save(("upscale", "image"), "backplate/upscaled")),
    ],
    app=([("Your picture", "image"), ("upscale", "width")], ["save"]),
)

ANIME_CEL = Template(
    title="Upscale anime cel with crisp lines (Backplate)",
    prompt="anime_cel",
    columns=[
        column(
            "Input",
            picture("Scanned cel or video frame"),
            loader(ANIME),
            note(
                "# Anime cel\nThe longer side becomes 2160 pixels. **Sharpen Blend** with *protect_lines* at 1 "
                "makes ink lines steeper without thickening them; flat paint stays flat.\n\n" + needs(ANIME),
                300,
            ),
        ),
        column("Upscale", sized(size(2160, 2160, "longest"), ("Scanned cel or video frame", "IMAGE"))),
        column("Upscale", sharpened([0.8, 2.0, 0.02, 0.0, True, 1.0], ("upscale", "image"))),
        column("Result", save(("sharpen", "image"), "backplate/cel")),
    ],
    app=([("Scanned cel or video frame", "image"), ("upscale", "width")], ["save"]),
)

BACKGROUND = Template(
    title="Generate background and upscale to 4K (Backplate)",
    prompt="background_to_4k",
    columns=[
        *painted(
            "empty oak table top in front of a softly blurred kitchen at morning, product photography backplate, "
            "natural window light",
            "people, text, watermark, product, clutter", 1344, 768,
        ),
        column(
            "Upscale",
            loader(PLUS),
            note(
                "# Generated background to 3840 x 2160\n1. SDXL paints the background at 1344 x 768.\n"
                "2. **Tiled Upscale** enlarges it four times without seams.\n3. **Sharpen Blend** crispens it; "
                "with halo limit 0 no edge rings.\n4. **Fit to Resolution** crops it to 3840 x 2160.\n\n"
                + needs(PLUS) + "\n" + CHECKPOINT,
                440,
            ),
        ),
        column("Upscale", tiled("", "model", ("painted", "IMAGE"))),
        column("Upscale", sharpened([0.4, 1.5, 0.01, 0.0, True, 0.0], ("tiled", "image"))),
        column("Result", fitted(size(3840, 2160, "cover"), change_me=True, image=("sharpen", "image"))),
        column("Result", save(("fit", "image"), "backplate/background_4k")),
    ],
)  # fmt: skip

CUTOUT, PART = "Product cutout (PNG with transparency)", "Product, 80 % of the frame"
PRODUCT = Template(
    title="Product on generated background 2000 (Backplate)",
    prompt="product_on_background_2000",
    columns=[
        *painted(
            "round stone pedestal in front of a pastel wall, soft studio light, product photography backplate",
            "people, text, watermark, product", 1024, 1024,
        ),
        column(
            "Input",
            picture(CUTOUT),
            loader(PLUS),
            note(
                "# Product cutout on a generated background, 2000 x 2000\nThe background is painted by SDXL, the "
                "product comes as a PNG with transparency. Each is brought to its size on its own, so the cutout "
                "keeps a clean edge.\n\nThe size in **Product, 80 % of the frame** says how much of the picture "
                "the product fills, *anchor* in **Product in its place** where it stands.\n\n"
                + needs(PLUS) + "\n" + CHECKPOINT,
                460,
            ),
        ),
        column(
            "Upscale",
            sized(size(2000, 2000, "cover"), ("painted", "IMAGE"), "Background to 2000 x 2000"),
            sized(size(1600, 1600, "contain"), (CUTOUT, "IMAGE"), PART, mask=(CUTOUT, "MASK")),
        ),
        column(
            "Result",
            fitted(
                size(2000, 2000, "pad", "transparent"), "Product in its place",
                image=(PART, "image"), mask=(PART, "mask"),
            ),
            Node(type="InvertMask", inputs={"mask": ("Product in its place", "mask")}),
        ),
        column(
            "Result",
            Node(
                type="ImageCompositeMasked", values=[0, 0, False],
                inputs={
                    "destination": ("Background to 2000 x 2000", "image"),
                    "source": ("Product in its place", "image"),
                    "mask": ("InvertMask", "MASK"),
                },
            ),
            save(("ImageCompositeMasked", "IMAGE"), "backplate/product_2000"),
        ),
    ],
)  # fmt: skip

LABEL = "Product picture, label painted over"
PROTECTED = Template(
    title="Product with a protected label (Backplate)",
    prompt="product_protected_label",
    columns=[
        column(
            "Input",
            picture(LABEL),
            loader(PLUS),
            note(
                "# A label that is not invented\nModels draw letters where they cannot read them. Choose your "
                "picture, right-click it, **Open in Mask Editor**, paint over the label, the logo or the face, and "
                "save: inside, the result is your picture, only larger and sharper; outside it is the model's, and "
                "no border shows.\n\nThe painted mask goes into **protect**. Any mask does, such as that of a "
                "segmentation node; it is white where nothing may be invented. Without a mask the model draws "
                "everything.\n\n*protect_mode* anchor keeps the model's edges, put right by the source.\n\n"
                + needs(PLUS),
                480,
            ),
        ),
        column("Upscale", sized(size(2000, 2000, "longest"), (LABEL, "IMAGE"), protect=(LABEL, "MASK"))),
        column("Result", save(("upscale", "image"), "backplate/protected_label")),
    ],
    app=([(LABEL, "image"), ("upscale", "width")], ["save"]),
)  # fmt: skip

COMPARE = Template(
    title="Compare upscale models (Backplate)",
    prompt="compare_models",
    columns=[
        column(
            "Input",
            picture("A picture of full size"),
            picture("Another of the same size"),
            Node(
                type="BatchImagesNode",
                inputs={
                    "images.image0": ("A picture of full size", "IMAGE"),
                    "images.image1": ("Another of the same size", "IMAGE"),
                },
            ),
        ),
        column(
            "Input",
            loader(GENERAL, "Photos, keeps grain"),
            loader(DENOISING, "Photos, removes noise"),
            loader(ANIME, "Anime and drawings"),
            note(
                "# Which upscale model for my pictures?\n1. Load good pictures of the kind you work with, in full "
                "size. Add more with further *Batch Images* nodes: five to twenty make the verdict sure enough.\n"
                "2. **Model Shootout** makes them four times smaller, lets each model (and plain Lanczos) bring "
                "them back, and measures what came back. Advice and table show on the node.\n3. The node names "
                "the report, with a zoom that moves all crops.\n\nSet *degrade* to none for pictures that are "
                "small already. A fourth model fits in.\n\n" + needs(GENERAL, DENOISING, ANIME),
                480,
            ),
        ),
        column(
            "Compare",
            Node(
                type="BackplateModelShootout", name="shootout",
                values=["bicubic", 4, "psnr,ssim", "", "backplate/shootout", 0, 0, "plain"],
                inputs={
                    "model_1": ("Photos, keeps grain", "upscale_model"),
                    "images": ("BatchImagesNode", "IMAGE"),
                    "model_2": ("Photos, removes noise", "upscale_model"),
                    "model_3": ("Anime and drawings", "upscale_model"),
                },
            )
        ),
        column(
            "Result",
            save(("shootout", "contact_sheet"), "backplate/contact_sheet", "Where the models differ most"),
        ),
    ],
)  # fmt: skip

DENOISE = Template(
    title="Upscale with denoise strength (Backplate)",
    prompt="denoise_strength",
    columns=[
        column(
            "Input",
            picture("Picture"),
            note(
                "# Denoise strength\n*weight* 0 is realesr-general-x4v3 alone, which keeps grain; 1 is its "
                "denoising sister. What lies between is Real-ESRGAN's denoise strength.\n\n"
                + needs(GENERAL, DENOISING),
                300,
            ),
        ),
        column("Input", loader(GENERAL, "Keeps texture and noise"), loader(DENOISING, "Removes noise")),
        column(
            "Upscale",
            Node(
                type="BackplateBlendUpscaleModels", title="Denoise strength", values=[0.5], change_me=True,
                inputs={
                    "model_a": ("Keeps texture and noise", "upscale_model"),
                    "model_b": ("Removes noise", "upscale_model"),
                },
            )
        ),
        column(
            "Upscale",
            sized(size(2048, 2048, "factor", factor=4.0), ("Picture", "IMAGE"), model="Denoise strength")
        ),
        column("Result", save(("upscale", "image"), "backplate/denoise")),
    ],
)  # fmt: skip

FOLDER = Template(
    title="Upscale product folder to 2000 (Backplate)",
    prompt="product_folder_2000",
    columns=[
        column(
            "Input",
            loader(PLUS, change_me=True),
            note(
                "# Product pictures to 2000 x 2000\nPut the pictures, of any size and format and in sub-folders if "
                "you like, into ComfyUI's folder input / products, press R and queue. Each is trimmed, enlarged, "
                "set on white and saved under its own name in output / products_2000.\n\nOne broken file costs "
                "one picture. **Cancel** keeps what is done; queue again and only what is missing is made. "
                "The page *index.html* beside the results shows before and after, the least faithful first.\n\n"
                + needs(PLUS),
                420,
            ),
        ),
        *folder_job(
            "input/products to 2000 x 2000 on white", "products_2000", *size(2000, 2000, "pad", "colour"), True, 0.0,
            "jpg", 92,
        ),
    ],
    app=([("folder", "folder"), ("folder", "output_folder"), ("folder", "width")], ["folder"]),
)  # fmt: skip

MARKETPLACE = Template(
    title="Product folder for a marketplace (Backplate)",
    prompt="marketplace_folder",
    columns=[
        column(
            "Input",
            loader(PLUS, change_me=True),
            note(
                "# Product pictures that a marketplace takes\nPut the pictures into ComfyUI's folder input / "
                "products, press R, choose a profile and queue. Each is enlarged and brought in line with the "
                "rules: size, a background of exactly 255, how much the product fills, sRGB, format, bytes, "
                "resolution. The profile chooses the size because width and height are 0.\n\nWhat still breaks a "
                "rule lies in the folder *failed*. The page *index.html* beside the results lists every rule of "
                "every picture: passed, mended or failed. Rules of your own go into *profile_file*.\n\n"
                + needs(PLUS),
                440,
            ),
        ),
        *folder_job(
            "input/products as Amazon wants them", "products_marketplace", *size(0, 0, "contain"), False, 0.0,
            "as source", 95, profile="amazon",
        ),
    ],
    app=([("folder", "folder"), ("folder", "output_folder"), ("folder", "profile")], ["folder"]),
)  # fmt: skip

ONE, OTHER = "Enlarged by Real-ESRGAN", "Enlarged by 4x-UltraSharp"
BOTH = "Detail of UltraSharp over Real-ESRGAN"
AGAINST = Template(
    title="Real-ESRGAN against UltraSharp (Backplate)",
    prompt="real_esrgan_against_ultrasharp",
    columns=[
        column(
            "Input",
            picture("Picture"),
            loader(PLUS, "Real-ESRGAN"),
            loader(ULTRA, "4x-UltraSharp"),
            note(
                "# Real-ESRGAN against 4x-UltraSharp\nLook at edges: UltraSharp is crisper and rings more. The "
                "lower branch lays UltraSharp's fine detail over Real-ESRGAN; *halo_limit* 0 keeps every pixel "
                "inside the range of its surroundings.\n\n" + needs(PLUS, ULTRA),
                320,
            ),
        ),
        column(
            "Upscale",
            tiled(ONE, "Real-ESRGAN", ("Picture", "IMAGE")),
            tiled(OTHER, "4x-UltraSharp", ("Picture", "IMAGE")),
        ),
        column(
            "Compare",
            stitched("right", 16, (ONE, "image"), (OTHER, "image")),
            sharpened([0.6, 1.5, 0.0, 0.0, True, 0.0], (ONE, "image"), BOTH, detail=(OTHER, "image")),
        ),
        column(
            "Result",
            save(("ImageStitch", "IMAGE"), "backplate/side_by_side", "Left Real-ESRGAN, right 4x-UltraSharp"),
            save((BOTH, "image"), "backplate/both", "Both: UltraSharp's detail without its ringing"),
        ),
    ],
)  # fmt: skip

RECORDING = "720p recording"
VIDEO = Template(
    title="Upscale video 720p to 1080p (Backplate)",
    prompt="video_720p_to_1080p",
    columns=[
        column(
            "Input",
            video(RECORDING, "match_720p.mp4"),
            loader(GENERAL),
            note(
                "# 720p to 1080p\nChoose your video first; ComfyUI comes with none.\n\nThe video is read, "
                "enlarged and written frame by frame: memory does not grow with its length, and frame times, "
                "sound and colours stay. The file lies in output / backplate. **Cancel** keeps what is finished; "
                "queue again to go on.\n\n" + needs(GENERAL),
                340,
            ),
        ),
        column(
            "Upscale",
            upscaled_video(
                RECORDING, size(1920, 1080, "cover"), "h264", "mp4", "as source", "exact", "backplate/match_1080p"
            ),
        ),
        column(
            "Result",
            Node(
                type="BackplateVideoReport", name="report",
                inputs={"result": ("video", "video"), "source": (RECORDING, "VIDEO")},
            )
        ),
    ],
    app=([(RECORDING, "file"), ("video", "width"), ("video", "height")], ["video"]),
)  # fmt: skip

EPISODE = Template(
    title="Upscale anime episode to 4K (Backplate)",
    prompt="anime_episode_4k",
    columns=[
        column(
            "Input",
            video("Episode", "episode.mkv"),
            loader(ANIME),
            note(
                "# Anime episode to 4K\nChoose your video first; ComfyUI comes with none.\n\nDrawings that are "
                "held for two or three frames are computed once: with *held_frames* within noise, changes of up "
                "to 1.5 levels in any 8x8 block count as the noise of the encode. Where only a mouth moves, only "
                "its tile is computed anew. Subtitles and fonts need an mkv; 10 bits keep flat paint from "
                "banding.\n\n" + needs(ANIME),
                400,
            ),
        ),
        column(
            "Upscale",
            upscaled_video(
                "Episode", size(3840, 2160, "contain"), "hevc", "mkv", "10", "within noise", "backplate/episode_4k", 240
            ),
        ),
    ],
)  # fmt: skip

PANORAMA = Template(
    title="Upscale 360 panorama without a seam (Backplate)",
    prompt="panorama_360",
    columns=[
        column(
            "Input",
            picture("Panorama, twice as wide as high"),
            loader(BUNDLED, change_me=True),
            note(
                "# 360 degree panorama\nThe left and the right border of such a picture meet when it is looked "
                "at. With *edge* on **wrap horizontal** the model sees the other side beyond each border, so "
                "that no seam shows there; *stretch* to twice as wide as high keeps them the same place.\n\n"
                "It runs at once with the small model that comes with Backplate; for final quality choose "
                "another.\n\n" + GREEN,
                320,
            ),
        ),
        column(
            "Upscale",
            sized(size(4096, 2048, "stretch"), ("Panorama, twice as wide as high", "IMAGE"), edge="wrap horizontal"),
        ),
        column("Result", save(("upscale", "image"), "backplate/panorama")),
    ],
)

TWICE = "Twice beside itself"
TEXTURE = Template(
    title="Upscale seamless texture (Backplate)",
    prompt="seamless_texture",
    columns=[
        column(
            "Input",
            picture("Texture that tiles"),
            loader(BUNDLED, change_me=True),
            note(
                "# Seamless texture\nWith *edge* on **wrap both** the model sees the opposite side beyond each "
                "border: what tiled before tiles after. The lower picture lays the texture beside and below "
                "itself; look for a cross in its middle, which is there only if the texture had one.\n\n"
                "It runs at once with the small model that comes with Backplate; for final quality choose "
                "another.\n\n" + GREEN,
                320,
            ),
        ),
        column("Upscale", tiled("", "model", ("Texture that tiles", "IMAGE"), "wrap both")),
        column(
            "Compare",
            stitched("right", 0, ("tiled", "image"), ("tiled", "image"), TWICE),
            stitched("down", 0, (TWICE, "IMAGE"), (TWICE, "IMAGE"), "Twice below itself"),
        ),
        column(
            "Result",
            save(("tiled", "image"), "backplate/texture"),
            Node(type="PreviewImage", title="Four of it", inputs={"images": ("Twice below itself", "IMAGE")}),
        ),
    ],
)  # fmt: skip

STUDY = Template(
    title="Blind study of two upscalers (Backplate)",
    prompt="ab_study",
    columns=[
        column(
            "Input",
            picture("A small picture"),
            loader(GENERAL, "Photos", change_me=True),
            loader(ANIME, "Anime", change_me=True),
            note(
                "# Which branch do people prefer?\n1. Load a picture and run; then the next one. Each run "
                "adds what both branches made of it to the study, as a blind pair; 20 to 40 pictures are a "
                "good number.\n2. The study lies in ComfyUI's output folder. Hand *page.html* to the "
                "voters, or send them personal links with *backplate study serve*.\n3. *backplate study "
                "tally* says who won; *Result of Blind Study* says it in a graph.\n\nPut anything into the "
                "branches: another model, another prompt, a whole workflow. Only the sizes must be the "
                "same. *key.json* says which picture came from which branch: keep it to yourself.\n\n"
                + needs(GENERAL, ANIME),
                460,
            ),
        ),
        column(
            "Upscale",
            tiled("Branch A", "Photos", ("A small picture", "IMAGE")),
            tiled("Branch B", "Anime", ("A small picture", "IMAGE")),
        ),
        column(
            "Compare",
            Node(
                type="BackplateStudyAdd", name="study", title="Run once for each picture",
                values=["backplate/photos_or_anime", "photos, anime", "", 0.0, 12],
                inputs={
                    "images_a": ("Branch A", "image"),
                    "images_b": ("Branch B", "image"),
                    "source": ("A small picture", "IMAGE"),
                },
                change_me=True,
            )
        ),
    ],
)  # fmt: skip

LOCK = Template(
    title="Fidelity lock after a diffusion upscaler (Backplate)",
    prompt="fidelity_lock",
    columns=[
        column(
            "Input",
            picture("The original picture"),
            loader(BUNDLED, "Model", change_me=True),
            note(
                "# True to the original\nDiffusion upscalers such as SeedVR2, SUPIR and Ultimate SD Upscale "
                "invent: letters on a label, a face, a colour. **Fidelity Lock** gives back what the original "
                "shows and keeps the fine detail that was added: scaled down, the result *is* the original.\n\n"
                "Put your diffusion upscaler in the place of **Your upscaler goes here**; anything that gives an "
                "IMAGE of the same picture will do, in any size. A shift of up to two pixels and a colour "
                "that changed everywhere are found and taken off.\n\nIf the original is noisy or full of JPEG "
                "blocks, set *coarser_than* to about 8: it locks shapes and colours only.\n\n" + GREEN,
                420,
            ),
        ),
        column("Upscale", tiled("Your upscaler goes here", "Model", ("The original picture", "IMAGE"))),
        column(
            "Upscale",
            Node(
                type="BackplateFidelityLock", name="lock", values=[1.0, 0.0],
                inputs={
                    "image": ("Your upscaler goes here", "image"),
                    "source": ("The original picture", "IMAGE"),
                },
                change_me=True,
            )
        ),
        column("Result", save(("lock", "image"), "backplate/locked")),
    ],
    app=([("The original picture", "image"), ("lock", "strength")], ["save"]),
)  # fmt: skip

TEMPLATES = [
    QUICK_START, ANIME_CEL, EPISODE, BACKGROUND, COMPARE, DENOISE, FOLDER, PRODUCT, AGAINST, VIDEO, PANORAMA, TEXTURE,
    STUDY, LOCK, MARKETPLACE, PROTECTED,
]  # fmt: skip
