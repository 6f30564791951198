// SPDX-License-Identifier: Apache-2.0
//
// axis_image for feature maps: drives the data of a stream of pixels, one of whose bytes is dyed, and
// says where that one is. Bit 0 of a byte stands for all of it; what is in lanes that a group's last
// beat does not use is unknown.

`default_nettype none

module axis_pixels #(
    parameter HEIGHT   = 1,
    parameter WIDTH    = 1,
    parameter CHANNELS = 1,
    parameter LANES    = 1,  // see sliding_window
    parameter PIXELS   = 1,
    parameter ROWS     = 1,  // see axis_image
    parameter COLS     = 1,
    parameter PARTS    = 1,
    parameter LIMIT    = 1,
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [MARK_WIDTH-1:0]     mark,
    output wire [8*PIXELS*LANES-1:0] s_tdata,
    input  wire                      s_tvalid,
    input  wire                      s_tready,
    input  wire                      m_tvalid,
    input  wire                      m_tready,
    input  wire                      m_tlast,
    output wire [7:0]                m_row,
    output wire [7:0]                m_col,
    output wire [7:0]                m_part,
    output wire                      dyed,
    output reg  [7:0]                y,  // of the dyed byte
    output reg  [7:0]                x,
    output reg  [7:0]                channel
);

    localparam GROUPS = WIDTH / PIXELS;
    localparam BEATS  = (CHANNELS + LANES - 1) / LANES;
    localparam MOST   = PIXELS * LANES;
    localparam SHORT  = PIXELS * (CHANNELS - (BEATS - 1)*LANES);  // bytes of a group's last beat

    // Of the beat on the input: its row, its first column and its first channel.
    reg  [7:0] row = 0, col = 0, first = 0;
    wire       group_last = first == (BEATS - 1)*LANES;
    wire       row_last   = col == WIDTH - PIXELS;
    wire [7:0] used       = group_last ? SHORT : MOST;

    wire [MOST-1:0] dye;
    wire [23:0]     tag;
    wire [7:0]      item, unused_beat;

    always @(posedge clk) begin
        if (s_tvalid && s_tready) begin
            first <= group_last ? 0 : first + LANES;
            if (group_last)
                col <= row_last ? 0 : col + PIXELS;
            if (group_last && row_last)
                row <= (row == HEIGHT - 1) ? 0 : row + 1'b1;
        end
        if (rst) begin
            first <= 0;
            col   <= 0;
            row   <= 0;
        end
    end

    axis_image #(
        .IN_BEATS(HEIGHT*GROUPS*BEATS), .ITEMS(MOST), .TAG_WIDTH(24), .ROWS(ROWS), .COLS(COLS),
        .PARTS(PARTS), .IMAGES(31), .LIMIT(LIMIT)
    ) image (
        .clk(clk), .rst(rst), .mark((mark <= used) ? mark : {MARK_WIDTH{1'b0}}),
        .s_tvalid(s_tvalid), .s_tready(s_tready), .dye(dye), .s_beat(unused_beat),
        .s_tag({first, col, row}), .tag(tag), .item(item),
        .m_tvalid(m_tvalid), .m_tready(m_tready), .m_tlast(m_tlast),
        .m_row(m_row), .m_col(m_col), .m_part(m_part), .dyed(dyed)
    );

    (* anyseq *) wire [MOST-1:0] unknown;

    genvar i;
    generate
        for (i = 0; i < MOST; i = i + 1) begin : gen_byte
            assign s_tdata[8*i +: 8] = {7'd0, (s_tvalid && i < used) ? dye[i] : unknown[i]};
        end
    endgenerate

    integer k;
    always @* begin
        y       = tag[7:0];
        x       = tag[15:8];
        channel = tag[23:16];
        for (k = 0; k < MOST; k = k + 1)
            if (item == k) begin
                x       = x + k / LANES;
                channel = channel + k % LANES;
            end
    end

endmodule

`default_nettype wire
