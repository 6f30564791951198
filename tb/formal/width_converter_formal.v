// SPDX-License-Identifier: Apache-2.0
//
// Every byte of a vector comes out at its place, in order of arrival, with zeros behind the last.

`default_nettype none

module width_converter_formal #(
    parameter POSITIONS = 1,
    parameter CHANNELS  = 1,
    parameter LANES     = 1,
    parameter PIXELS    = 1,
    parameter SIMD      = 1,
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input wire clk,
    input wire rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire s_axis_tvalid,
    input wire m_axis_tready
);

    localparam BYTES  = POSITIONS * CHANNELS;
    localparam CHUNKS = (BYTES + SIMD - 1) / SIMD;
    localparam BEATS  = (CHANNELS + LANES - 1) / LANES;  // of PIXELS pixels
    localparam MOST   = PIXELS * LANES;                  // bytes of a beat
    localparam SHORT  = PIXELS * (CHANNELS - (BEATS - 1)*LANES);  // of a pixel's last beat

    wire [8*MOST-1:0] s_axis_tdata;
    wire [MOST-1:0]   dye;
    wire              s_axis_tready, m_axis_tlast, m_axis_tvalid, dyed;
    wire [8*SIMD-1:0] m_axis_tdata;
    wire [SIMD-1:0]   m_bits;
    wire [7:0]        tag, item, unused_beat, unused_part, unused_row, chunk;

    width_converter #(
        .POSITIONS(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS), .SIMD(SIMD)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(SIMD + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_bits}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_progress #(.LIMIT(1)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );

    axis_image #(
        .IN_BEATS(POSITIONS/PIXELS*BEATS), .ITEMS(MOST), .COLS(CHUNKS), .IMAGES(5), .LIMIT(1)
    ) image (
        .clk(clk), .rst(rst), .mark((mark <= used) ? mark : 0),
        .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready), .dye(dye),
        .s_beat(unused_beat),        .s_tag(first), .tag(tag), .item(item),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready), .m_tlast(m_axis_tlast),
        .m_row(unused_row), .m_col(chunk), .m_part(unused_part), .dyed(dyed)
    );

    // Bit 0 of a byte stands for all. What is in bytes that a pixel's last beat does not use must not
    // matter.
    (* anyseq *) wire [MOST-1:0] unknown;

    reg [7:0] part = 0;   // of the pixels that go in
    reg [7:0] first = 0;  // byte of the vector that the beat on the input begins with
    wire       short = part == BEATS - 1;
    wire [7:0] used  = short ? SHORT : MOST;
    wire [7:0] next  = first + used;
    always @(posedge clk) begin
        if (s_axis_tvalid && s_axis_tready) begin
            part  <= short ? 0 : part + 1'b1;
            first <= (next == BYTES) ? 0 : next;
        end
        if (rst) begin
            part  <= 0;
            first <= 0;
        end
    end

    wire [7:0] place     = tag + item;  // of the dyed byte
    wire [7:0] out_first = chunk * SIMD[7:0];

    genvar i;
    generate
        for (i = 0; i < MOST; i = i + 1) begin : gen_in
            assign s_axis_tdata[8*i] = (s_axis_tvalid && i < used) ? dye[i] : unknown[i];
        end
        for (i = 0; i < SIMD; i = i + 1) begin : gen_out
            assign m_bits[i] = m_axis_tdata[8*i];
            always @* if (m_axis_tvalid)
                assert (m_bits[i] == (dyed && place == out_first + i));
        end
    endgenerate

endmodule

`default_nettype wire
